"""The ids by which a sender's logs, the relay's and a trace name the same request, and spans.

Spans are those of OpenTelemetry, which is an optional extra: `app.observability` implements
`Tracer`. Without it, a tracer is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, Self

from app.domain.instants import Instant

AttributeValue = str | int | Sequence[str]


class SpanContext(NamedTuple):
    """Names one span that is exported; both ids are lower-case hexadecimal."""

    trace_id: str
    span_id: str


class Trace(NamedTuple):
    """The ids of one request; all are visible ASCII without spaces.

    Attributes:
        request_id: of the header `X-Request-Id`.
        trace_id: of the header `traceparent` (W3C Trace Context), or of the span.
        span_id: of the span of the request; None if the request has none that is exported.
    """

    request_id: str
    trace_id: str | None
    span_id: str | None = None

    @property
    def span(self) -> SpanContext | None:
        """The span of the request, the parent of the spans of its events."""
        if self.trace_id is None or self.span_id is None:
            return None
        return SpanContext(self.trace_id, self.span_id)

    def to_text(self) -> str:
        """Return the form in which an event is stored with it."""
        return " ".join(each for each in self if each is not None)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the stored form."""
        request_id, *ids = text.split(" ")
        trace_id, span_id, *_ = [*ids, None, None]
        return cls(request_id, trace_id, span_id)


class SpanKind(StrEnum):
    """Kinds of finished spans."""

    INTERNAL = "internal"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """A span that has a parent and has ended.

    Attributes:
        name: one of few.
        attributes: without row values.
        links: other spans that it has to do with.
        is_error: whether an operator may have to act.
    """

    name: str
    kind: SpanKind
    parent: SpanContext
    began_at: Instant
    ended_at: Instant
    attributes: Mapping[str, AttributeValue]
    links: Sequence[SpanContext] = ()
    is_error: bool = False


class RequestSpan(Protocol):
    """The open span of one HTTP request."""

    @property
    def context(self) -> SpanContext | None:
        """Its ids; None if it is not sampled."""
        ...

    def end(
        self,
        ended_at: Instant,
        *,
        status: int,
        route: str | None,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        """End it.

        Args:
            status: of the response.
            route: the template of the path; None if no route matches.
        """
        ...


class Tracer(Protocol):
    """Exports spans. Nothing here blocks or raises; spans that cannot be exported are dropped."""

    def start_request(
        self, method: str, headers: Mapping[bytes, bytes], began_at: Instant
    ) -> RequestSpan:
        """Start the span of a request, as a child of the sender's span if it gave one."""
        ...

    def record(self, span: FinishedSpan) -> SpanContext | None:
        """Export a span; return its ids, or None if it is not sampled."""
        ...

    async def close(self, limit_seconds: float) -> None:
        """Export what is left, or drop it when the time is up."""
        ...
