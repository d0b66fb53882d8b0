"""The ids by which a sender's logs and the relay's name the same request."""

from typing import NamedTuple, Self


class Trace(NamedTuple):
    """The ids of one request; both are visible ASCII without spaces.

    Attributes:
        request_id: of the header `X-Request-Id`.
        trace_id: of the header `traceparent` (W3C Trace Context).
    """

    request_id: str
    trace_id: str | None

    def to_text(self) -> str:
        """Return the form in which an event is stored with it."""
        return self.request_id if self.trace_id is None else f"{self.request_id} {self.trace_id}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the stored form."""
        request_id, _, trace_id = text.partition(" ")
        return cls(request_id, trace_id or None)
