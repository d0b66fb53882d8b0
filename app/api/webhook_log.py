"""One log line for each webhook request, without personal data, tokens or row values."""

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
from app.domain.log_fields import log_fields
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
        event: its event, as soon as that is read; None for a batch.
        began_at: when it was read, by the clock of `WebhookLog`.
    """

    __slots__ = ("_client", "_webhook_id", "began_at", "event", "path", "trace")

    def __init__(
        self, path: str | None, headers: Mapping[bytes, bytes], client: object, began_at: float
    ) -> None:
        self.path = path
        self.trace = read_trace(headers)
        self.event: Event | None = None
        self._webhook_id = headers.get(b"webhook-id")
        self._client = client
        self.began_at = began_at

    def describe(
        self, *, status: int, code: str | None, reason: str | None, now: float
    ) -> dict[str, str | float | None]:
        """Return the fields of its log line."""
        event_id = (self._webhook_id or b"").decode("latin-1")
        trace_id = self.trace.trace_id
        return {
            "event_id": event_id if is_event_id(event_id) else None,
            "type": None if self.event is None else self.event.type.value,
            "status": status,
            "code": code,
            "reason": reason,
            # An address and a port; a Unix socket has neither.
            "client": self._client[0] if isinstance(self._client, tuple) else None,
            "duration_ms": round((now - self.began_at) * 1000, 1),
            "request_id": self.trace.request_id.decode(),
            "trace_id": None if trace_id is None else trace_id.decode(),
        }


class WebhookLog:
    """Writes the lines that LOG_WEBHOOKS asks for.

    Attributes:
        monotonic: seconds of the clock that measures how long a request takes.
    """

    def __init__(
        self, mode: LogWebhooks, *, monotonic: Callable[[], float] = time.perf_counter
    ) -> None:
        self._logs_all = mode is LogWebhooks.ALL
        self._logs_rejected = mode is not LogWebhooks.OFF
        self.monotonic = monotonic

    def measure_seconds(self, request: WebhookRequest) -> float:
        """Return how long a request has taken so far."""
        return self.monotonic() - request.began_at

    def note_event(self, request: WebhookRequest, status: int, code: str) -> None:
        """Log a request whose event is stored."""
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
        if self._logs_all:
            counts = {
                "events": len(items),
                **Counter(receipt.value for receipt in receipts),
                "invalid": len(items) - len(receipts),
            }
            self._log(f"received {request.path}", request, status, None, counts=counts)

    def note_error(self, request: WebhookRequest, error: BaseException) -> None:
        """Log a request that was not accepted.

        With `rejected` only those that are not accepted however often they are sent: during an
        outage the others would be every request, and the metrics count them.
        """
        is_rejected = isinstance(error, RequestRejected)
        if self._logs_all or (self._logs_rejected and is_rejected):
            status, code = find_status(error)
            reason = "unexpected error"
            if isinstance(error, RelayError):
                reason = find_reason(error)[:_REASON_CHARACTERS]
            verb = "rejected" if is_rejected else "did not accept"
            subject = request.path or "a request"
            message = f"{verb} {subject}: {type(error).__name__} ({reason})"
            self._log(message, request, status, code, reason)

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
