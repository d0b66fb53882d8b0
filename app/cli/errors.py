"""The errors that end a command, each with its exit code.

CommandFailed              1  rejected, or not found
├── Rejected               1  retrying changes nothing
├── NotRepaired            1  a guard refused the repair
├── UsageError             2
├── RelayUnavailable       3  retrying may help
│   ├── Unconfirmed        3
│   └── NotThisRelay       3  retrying changes nothing
└── NotFinished            4
"""

from collections.abc import Mapping, Sequence
from typing import Any


class CommandFailed(Exception):
    """The command cannot continue; `str(error)` is a sentence for the person who ran it.

    Attributes:
        details: one line each, below the sentence.
        problem: the relay's problem document, if it responded with one.
        retry_after_seconds: from the `Retry-After` header.
    """

    exit_code: int = 1

    def __init__(
        self,
        sentence: str,
        details: Sequence[str] = (),
        *,
        problem: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.details = tuple(details)
        self.problem = problem
        self.retry_after_seconds = retry_after_seconds


class Rejected(CommandFailed):
    """The relay, or Supabase, rejected the request."""


class NotRepaired(CommandFailed):
    """A guard refused to repair what differs."""


class UsageError(CommandFailed):
    """The options do not go together, or are too few."""

    exit_code = 2


class RelayUnavailable(CommandFailed):
    """No relay responds, or it cannot accept requests at the moment."""

    exit_code = 3


class Unconfirmed(RelayUnavailable):
    """A successful response is about something else; the request may have been handled or not."""


class NotThisRelay(RelayUnavailable):
    """The server is not a relay, or a relay of another version."""


class NotFinished(CommandFailed):
    """The change or the replay was not applied in time."""

    exit_code = 4
