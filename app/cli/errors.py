"""How a command that speaks to a relay ends when it cannot go on."""

from collections.abc import Sequence


class CommandFailed(Exception):
    """The command cannot go on; `str(error)` is a sentence for the person who ran it.

    Attributes:
        exit_code: for the script that ran it.
        details: one line each, beneath the sentence.
    """

    exit_code: int = 1

    def __init__(self, sentence: str, details: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.details = tuple(details)


class Misused(CommandFailed):
    """The options do not go together, or are too few."""

    exit_code = 2


class Refused(CommandFailed):
    """The relay answered that it will not; asking again changes nothing."""


class RelayAway(CommandFailed):
    """No relay answers there, or not at the moment.

    Attributes:
        retry_after_seconds: when it asked to be called again, if it did.
    """

    exit_code = 3

    def __init__(self, sentence: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class Unconfirmed(RelayAway):
    """A success was answered that is not about what was sent: it may have been stored or not."""


class NoRelay(RelayAway):
    """What answers there is none, or one of another version; asking again changes nothing."""
