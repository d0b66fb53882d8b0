"""Every error that the relay raises on purpose; none of them knows HTTP.

    RelayError
    ├── RequestRejected              the caller sent what cannot be taken
    │   ├── RequestMalformed
    │   ├── HeadTooLarge
    │   ├── HeadTooSlow
    │   ├── BodyTooLarge
    │   ├── BodyTooSlow
    │   ├── MediaTypeUnsupported
    │   ├── ContentEncodingUnsupported
    │   ├── Unauthenticated
    │   ├── ScopeMissing
    │   ├── OperatorAccessNotConfigured
    │   ├── InputInvalid
    │   ├── EventIdConflict
    │   ├── EventNotFound
    │   └── ReplayNotFound
    ├── TemporarilyUnavailable       the caller should come back
    │   ├── Overloaded
    │   ├── StoreUnavailable
    │   └── KeySetUnavailable
    ├── LeaseLost                    another replica dispatches
    └── ConfigurationInvalid         the relay cannot start as it is configured

`app.api.problems` gives each its status and its code.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one place of a JSON document.

    Attributes:
        pointer: RFC 6901 JSON pointer to the place; the whole document is "".
        detail: one sentence for the person who wrote the sender. It never repeats the value.
    """

    pointer: str
    detail: str


class RelayError(Exception):
    """The root. `str(error)` is a sentence that may be shown to the caller."""


class RequestRejected(RelayError):
    """What the caller sent cannot be taken; sending it again changes nothing."""


class RequestMalformed(RequestRejected):
    """The bytes are not one valid HTTP/1.1 request."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This is not a valid HTTP/1.1 request: {reason}.")


class HeadTooLarge(RequestRejected):
    """The request line and the headers have more than so many bytes or fields."""

    def __init__(self, limit_bytes: int, limit_fields: int) -> None:
        super().__init__(
            f"The headers are larger than {limit_bytes} bytes or more than {limit_fields} fields."
        )


class HeadTooSlow(RequestRejected):
    """The request line and the headers did not arrive within `limit_seconds`."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"The headers did not arrive within {limit_seconds:g} seconds.")


class BodyTooLarge(RequestRejected):
    """The body is longer than `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class BodyTooSlow(RequestRejected):
    """The body did not arrive within `limit_seconds`."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"The body did not arrive within {limit_seconds:g} seconds.")


class MediaTypeUnsupported(RequestRejected):
    """The body is not declared to be JSON."""

    def __init__(self) -> None:
        super().__init__("The content type must be application/json.")


class ContentEncodingUnsupported(RequestRejected):
    """The body is compressed, or encoded otherwise."""

    def __init__(self) -> None:
        super().__init__("The body must be sent without a content encoding.")


class Unauthenticated(RequestRejected):
    """No valid signature or token.

    Attributes:
        reason: what exactly was wrong. For the log only: it would help a forger.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The request is not authenticated.")
        self.reason = reason


class ScopeMissing(RequestRejected):
    """A valid token that does not carry the scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"The token lacks the scope {scope}.")


class OperatorAccessNotConfigured(RequestRejected):
    """An operator's path was called, and no JWT setting says who is an operator."""

    def __init__(self) -> None:
        super().__init__("Operator access needs JWT_SECRET or JWT_JWKS_URL to be set.")


class InputInvalid(RequestRejected):
    """Authentic, but not of the form that the contract asks for.

    Attributes:
        errors: one per place that is wrong, at least one.
    """

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("The request does not have the form that the contract asks for.")
        self.errors = tuple(errors)


class EventIdConflict(RequestRejected):
    """This webhook-id was stored before with a different body."""

    def __init__(self) -> None:
        super().__init__("This webhook-id was stored before with a different body.")


class EventNotFound(RequestRejected):
    """No event is stored under this id."""

    def __init__(self) -> None:
        super().__init__("No event is stored under this id.")


class ReplayNotFound(RequestRejected):
    """No replay is stored under this id."""

    def __init__(self) -> None:
        super().__init__("No replay is stored under this id.")


class TemporarilyUnavailable(RelayError):
    """Nothing is wrong with the request; it was not taken and may be sent again.

    Attributes:
        retry_after_seconds: when to come back.
    """

    def __init__(self, sentence: str, retry_after_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(TemporarilyUnavailable):
    """More requests are in flight than the relay takes at once."""

    def __init__(self) -> None:
        super().__init__("Too many requests are in flight.", retry_after_seconds=1)


class StoreUnavailable(TemporarilyUnavailable):
    """The store could not commit; nothing was half done."""

    def __init__(self) -> None:
        super().__init__("The store is not writable at the moment.", retry_after_seconds=2)


class KeySetUnavailable(TemporarilyUnavailable):
    """The issuer's keys could not be fetched, so a token could not be judged."""

    def __init__(self) -> None:
        super().__init__("The keys of the tokens cannot be fetched.", retry_after_seconds=30)


class LeaseLost(RelayError):
    """Another replica dispatches, or may: nothing is written to Supabase and nothing recorded."""

    def __init__(self) -> None:
        super().__init__("The lease of the dispatcher is lost.")


class ConfigurationInvalid(RelayError):
    """The relay cannot start as it is configured; each sentence names a setting.

    Attributes:
        sentences: one for everything that is wrong.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences
