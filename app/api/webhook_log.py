"""One log line and one span for each webhook request, without personal data or row values."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from app.api.problems import find_reason, find_status
from app.api.request_trace import read_trace
from app.domain.errors import RelayError, RequestRejected
from app.domain.event_reader import BatchItem, is_event_id
from app.domain.events import Event
from app.domain.instants import from_seconds
from app.domain.log_fields import log_fields
from app.domain.traces import AttributeValue, RequestSpan, Trace, Tracer
from app.store.receive import Receipt

logger = logging.getLogger(__name__)

_REASON_CHARACTERS: Final = 500


class LogWebhooks(StrEnum):
    """Which webhook requests are logged."""

    ALL = "all"
    REJECTED = "rejected"
    OFF = "off"


class WebhookRequest:
    """What the log and the store keep of a request besides its events.

    Attributes:
        path: None if the server could not read the request that far.
        trace: its ids.
        stored_trace: what is stored with its events, if anything.
        span: its open span; None without tracing.
        event: its event, as soon as that is read; None for a batch.
        began_at: when it was read, by the clock of `WebhookLog`.
    """

    __slots__ = (
        "_client",
        "_webhook_id",
        "began_at",
        "event",
        "path",
        "span",
        "stored_trace",
        "trace",
    )

    def __init__(
        self, path: str | None, headers: Mapping[bytes, bytes], client: object, began_at: float
    ) -> None:
        self.path = path
        self.trace = read_trace(headers)
        self.stored_trace = self.trace.stored
        self.span: RequestSpan | None = None
        self.event: Event | None = None
        self._webhook_id = headers.get(b"webhook-id")
        self._client = client
        self.began_at = began_at

    def attach_span(self, span: RequestSpan) -> None:
        """Have its log line and its events name its span, if that is sampled."""
        self.span = span
        if span.context is not None:
            self.stored_trace = Trace(self.trace.request_id.decode(), *span.context).to_text()

    @property
    def event_id(self) -> str | None:
        """Its webhook-id; None if that is no event's."""
        event_id = (self._webhook_id or b"").decode("latin-1")
        return event_id if is_event_id(event_id) else None

    @property
    def event_type(self) -> str | None:
        """The type of its event, if that is read."""
        return None if self.event is None else self.event.type.value

    def describe(
        self, *, status: int, code: str | None, reason: str | None, now: float
    ) -> dict[str, str | float | None]:
        """Return the fields of its log line."""
        trace_id = None if self.trace.trace_id is None else self.trace.trace_id.decode()
        span = None if self.span is None else self.span.context
        return {
            "event_id": self.event_id,
            "type": self.event_type,
            "status": status,
            "code": code,
            "reason": reason,
            # An address and a port; a Unix socket has neither.
            "client": self._client[0] if isinstance(self._client, tuple) else None,
            "duration_ms": round((now - self.began_at) * 1000, 1),
            "request_id": self.trace.request_id.decode(),
            "trace_id": trace_id if span is None else span.trace_id,
            "span_id": None if span is None else span.span_id,
        }


class WebhookLog:
    """Writes the lines that LOG_WEBHOOKS asks for, and the spans.

    Args:
        clock: Unix seconds.
        tracer: None without tracing.

    Attributes:
        monotonic: seconds of the clock that measures how long a request takes.
    """

    def __init__(
        self,
        mode: LogWebhooks,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
        tracer: Tracer | None = None,
    ) -> None:
        self._logs_all = mode is LogWebhooks.ALL
        self._logs_rejected = mode is not LogWebhooks.OFF
        self._clock = clock
        self.monotonic = monotonic
        self._tracer = tracer

    def open_request(
        self, path: str, headers: Mapping[bytes, bytes], client: object, began_at: float
    ) -> WebhookRequest:
        """Begin a request that will be noted once; with tracing, start its span."""
        request = WebhookRequest(path, headers, client, began_at)
        if self._tracer is not None:
            started_at = from_seconds(self._clock() - self.measure_seconds(request))
            request.attach_span(self._tracer.start_request("POST", headers, started_at))
        return request

    def measure_seconds(self, request: WebhookRequest) -> float:
        """Return how long a request has taken so far."""
        return self.monotonic() - request.began_at

    def note_event(self, request: WebhookRequest, status: int, code: str) -> None:
        """Log a request whose event is stored."""
        if request.span is not None:
            self._end_span(request.span, request, status, code)
        if self._logs_all:
            self._log(f"{code} {request.path}", request, status, code)

    def note_batch(
        self,
        request: WebhookRequest,
        status: int,
        items: Sequence[BatchItem],
        receipts: Sequence[Receipt],
    ) -> None:
        """Log a batch: how many events it has, and how many got each result."""
        if not self._logs_all and request.span is None:
            return
        counts = {
            "events": len(items),
            **Counter(receipt.value for receipt in receipts),
            "invalid": len(items) - len(receipts),
        }
        if request.span is not None:
            self._end_span(request.span, request, status, None, counts)
        if self._logs_all:
            self._log(f"received {request.path}", request, status, None, counts=counts)

    def note_error(self, request: WebhookRequest, error: BaseException) -> None:
        """Log a request that was not accepted.

        With `rejected` only those that are not accepted however often they are sent: during an
        outage the others would be every request, and the metrics count them.
        """
        is_rejected = isinstance(error, RequestRejected)
        status, code = find_status(error)
        if request.span is not None:
            self._end_span(request.span, request, status, code)
        if self._logs_all or (self._logs_rejected and is_rejected):
            reason = "unexpected error"
            if isinstance(error, RelayError):
                reason = find_reason(error)[:_REASON_CHARACTERS]
            verb = "rejected" if is_rejected else "did not accept"
            subject = request.path or "a request"
            message = f"{verb} {subject}: {type(error).__name__} ({reason})"
            self._log(message, request, status, code, reason)

    def _end_span(
        self,
        span: RequestSpan,
        request: WebhookRequest,
        status: int,
        code: str | None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        attributes: dict[str, AttributeValue | None] = {
            "relay.event_id": request.event_id,
            "relay.event_type": request.event_type,
            "relay.code": code,
            **{f"relay.{name}": count for name, count in (counts or {}).items()},
        }
        span.end(
            from_seconds(self._clock()),
            status=status,
            route=request.path,
            attributes={name: value for name, value in attributes.items() if value is not None},
        )

    def _log(
        self,
        message: str,
        request: WebhookRequest,
        status: int,
        code: str | None,
        reason: str | None = None,
        *,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        fields = request.describe(status=status, code=code, reason=reason, now=self.monotonic())
        logger.info("%s", message, extra=log_fields(**fields, **(counts or {})))
