"""Every error that the relay raises on purpose; none of them knows HTTP.

    RelayError
    ├── RequestRejected              sending the request again changes nothing
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
    │   ├── ReplayNotFound
    │   └── ReconciliationNotFound
    ├── TemporarilyUnavailable       the caller should retry
    │   ├── Overloaded
    │   ├── StoreUnavailable
    │   └── KeySetUnavailable
    ├── LeaseLost                    another replica dispatches
    └── ConfigurationInvalid         the relay cannot start

`app.api.problems` maps each error to its status and code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one place of a JSON document.

    Attributes:
        pointer: RFC 6901 JSON pointer; "" for the whole document.
        detail: one sentence for the developer of the sender; never repeats the value.
    """

    pointer: str
    detail: str


class RelayError(Exception):
    """The root. `str(error)` is a sentence that callers may see.

    Attributes:
        sentence: of errors without details.
    """

    sentence: ClassVar[str] = ""

    def __init__(self, sentence: str | None = None) -> None:
        super().__init__(sentence or self.sentence)


class RequestRejected(RelayError):
    """The request cannot be accepted; sending it again changes nothing."""


class RequestMalformed(RequestRejected):
    """The bytes are not one valid HTTP/1.1 request."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This is not a valid HTTP/1.1 request: {reason}.")


class HeadTooLarge(RequestRejected):
    """The request line and the headers exceed a limit."""

    def __init__(self, limit_bytes: int, limit_fields: int) -> None:
        super().__init__(
            f"The headers are larger than {limit_bytes} bytes or more than {limit_fields} fields."
        )


class HeadTooSlow(RequestRejected):
    """The request line and the headers did not arrive in time."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"The headers did not arrive within {limit_seconds:g} seconds.")


class BodyTooLarge(RequestRejected):
    """The body exceeds its limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class BodyTooSlow(RequestRejected):
    """The body did not arrive in time."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(f"The body did not arrive within {limit_seconds:g} seconds.")


class MediaTypeUnsupported(RequestRejected):
    """The body is not declared to be JSON."""

    sentence = "The content type must be application/json."


class ContentEncodingUnsupported(RequestRejected):
    """The body has a content encoding, such as gzip."""

    sentence = "The body must be sent without a content encoding."


class Unauthenticated(RequestRejected):
    """No valid signature or token.

    Attributes:
        reason: what exactly was wrong. For the log only: it would help a forger.
    """

    sentence = "The request is not authenticated."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class ScopeMissing(RequestRejected):
    """The token is valid but lacks the scope."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"The token lacks the scope {scope}.")


class OperatorAccessNotConfigured(RequestRejected):
    """A request for an operator's path, but no JWT setting can verify operators."""

    sentence = "Operator access needs JWT_SECRET or JWT_JWKS_URL to be set."


class InputInvalid(RequestRejected):
    """The request is authentic, but violates the contract.

    Attributes:
        errors: at least one; one for each place that is wrong.
    """

    sentence = "Request validation failed."

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__()
        self.errors = tuple(errors)


class EventIdConflict(RequestRejected):
    """An event with this id and another body is stored."""

    sentence = "This webhook-id was stored before with a different body."


class EventNotFound(RequestRejected):
    """No event is stored under this id."""

    sentence = "No event is stored under this id."


class ReplayNotFound(RequestRejected):
    """No replay is stored under this id."""

    sentence = "No replay is stored under this id."


class ReconciliationNotFound(RequestRejected):
    """No reconciliation is stored under this id."""

    sentence = "No reconciliation is stored under this id."


class TemporarilyUnavailable(RelayError):
    """The request was not accepted, through no fault of its own; the caller should retry."""

    retry_after_seconds: ClassVar[int]


class Overloaded(TemporarilyUnavailable):
    """Too many requests are in flight."""

    sentence = "Too many requests are in flight."
    retry_after_seconds = 1


class StoreUnavailable(TemporarilyUnavailable):
    """The store could not commit; it rolled everything back."""

    sentence = "The store is not writable at the moment."
    retry_after_seconds = 2


class KeySetUnavailable(TemporarilyUnavailable):
    """The issuer's keys could not be fetched, so the token could not be verified."""

    sentence = "The keys of the tokens cannot be fetched."
    retry_after_seconds = 30


class LeaseLost(RelayError):
    """Another replica may dispatch: this one must neither write to Supabase nor record."""

    sentence = "The lease of the dispatcher is lost."


class ConfigurationInvalid(RelayError):
    """The relay cannot start with its settings.

    Attributes:
        sentences: one for each problem; each names a setting.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences
