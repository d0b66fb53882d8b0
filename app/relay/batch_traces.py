"""Spans of requests to Supabase, and of events from their receipt until their outcome."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from app.domain.degradation import Degradation
from app.domain.entities import EntityRef, EntityState
from app.domain.errors import StoreUnavailable
from app.domain.failures import RequestFailure
from app.domain.instants import Instant
from app.domain.traces import AttributeValue, FinishedSpan, SpanContext, SpanKind, Tracer
from app.store import trace_queries
from app.store.outcome_queries import Applied, Failed, Outcome
from app.store.store import Store
from app.store.trace_queries import SettledEvent
from app.supabase.client import ApplyResult
from app.supabase.planning import Operation

logger = logging.getLogger(__name__)

MAXIMUM_LINKS: Final = 128
# The dispatcher waits for it.
_READ_SECONDS: Final = 1.0

T = TypeVar("T")


class SentRequest(NamedTuple):
    """A request to Supabase and its result."""

    epoch: int
    sequence: int
    began_at: Instant
    ended_at: Instant
    result: ApplyResult | RequestFailure


class BatchTraces:
    """Records the spans of a dispatcher's batches.

    The spans of events are read from the store, so that a restart or another replica continues
    their traces. While the store is unavailable or slow there are no spans. Nothing here raises:
    dispatching does not depend on traces.

    Args:
        read_seconds: how long a read may take.
    """

    def __init__(
        self, store: Store, tracer: Tracer, *, read_seconds: float = _READ_SECONDS
    ) -> None:
        self._store = store
        self._tracer = tracer
        self._read_seconds = read_seconds
        self._reading: asyncio.Task[Any] | None = None
        self._request_failures = Degradation(logger, "the spans of requests are recorded again")
        self._event_failures = Degradation(logger, "the spans of events are recorded again")
        # Of the latest request of each entity, until its outcome is recorded.
        self._requests: dict[EntityRef, SpanContext] = {}

    async def record_request(self, sent: SentRequest, operations: Sequence[Operation]) -> None:
        """Record a request that has ended, if any of its events has a span.

        It belongs to the trace of the oldest of these events, and links to all of them.
        """
        with _log_failures(self._request_failures, "the span of a request"):
            await self._record_request(sent, operations)

    async def record_outcomes(self, outcomes: Sequence[Outcome], now: Instant) -> None:
        """Record the events that recorded outcomes have settled."""
        with _log_failures(self._event_failures, "the spans of events"):
            await self._record_outcomes(outcomes, now)

    def forget_requests(self) -> None:
        """Forget the requests whose outcomes are not recorded: another replica dispatches."""
        self._requests.clear()

    async def _record_request(self, sent: SentRequest, operations: Sequence[Operation]) -> None:
        entities = [entity for operation in operations for entity in operation.entities]
        sequences = {entity.version.sequence for entity in entities}
        events = await self._read(trace_queries.find_spans, sequences) or {}
        # A request may bring many events.
        links = list(dict.fromkeys(events.values()))
        if not links:
            return
        attributes, is_error = _describe_request(sent, operations)
        context = self._tracer.record(
            FinishedSpan(
                "relay_apply",
                SpanKind.CLIENT,
                links[0],
                sent.began_at,
                sent.ended_at,
                attributes,
                links=links[:MAXIMUM_LINKS],
                is_error=is_error,
            )
        )
        self._request_failures.end()
        if context is not None:
            self._requests |= {entity.ref: context for entity in entities}

    async def _record_outcomes(self, outcomes: Sequence[Outcome], now: Instant) -> None:
        settled: dict[tuple[EntityRef, int], tuple[Instant, SpanContext | None]] = {}
        for outcome in outcomes:
            entity = outcome.entity
            request = self._requests.pop(entity.ref, None)
            if isinstance(outcome, Applied):
                settled[entity.ref, entity.revision] = outcome.applied_at or now, request
            elif isinstance(outcome, Failed) and outcome.decision.state is EntityState.DEAD:
                settled[entity.ref, entity.revision] = now, request
        if not settled:
            return
        refs = {ref for ref, _ in settled}
        for event in await self._read(trace_queries.find_settled, refs) or ():
            # A newer revision has not been tried: its events wait for their own outcome.
            if (event.ref, event.revision) in settled:
                ended_at, request = settled[event.ref, event.revision]
                self._tracer.record(_make_event_span(event, ended_at, request))
                self._event_failures.end()

    async def _read(self, query: Callable[[Any, Any], T], ids: object) -> T | None:
        """Read from the store; None if it is unavailable or slow, or an earlier read still runs."""
        if self._reading is not None and not self._reading.done():
            return None
        self._reading = reading = asyncio.create_task(self._run(query, ids))
        await asyncio.wait({reading}, timeout=self._read_seconds)
        return reading.result() if reading.done() else None

    async def _run(self, query: Callable[[Any, Any], T], ids: object) -> T | None:
        with contextlib.suppress(StoreUnavailable):
            return await self._store.read(query, ids)
        return None


@contextlib.contextmanager
def _log_failures(failures: Degradation, subject: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - logged with its traceback
        cause = type(error).__name__
        failures.note(f"could not record {subject}", cause=cause, error=error)


def _describe_request(
    sent: SentRequest, operations: Sequence[Operation]
) -> tuple[dict[str, AttributeValue], bool]:
    """Return the attributes of a request, and whether it failed as a whole."""
    attributes: dict[str, AttributeValue] = {
        "relay.epoch": sent.epoch,
        "relay.sequence": sent.sequence,
        "relay.operations": len(operations),
        "relay.rows": sum(len(operation.rows) for operation in operations),
    }
    result = sent.result
    if isinstance(result, ApplyResult):
        attributes |= {"relay.outcome": "applied", "relay.not_tried": len(result.not_tried)}
        if result.failures:
            codes = sorted({failure.code for failure in result.failures.values()})
            attributes |= {"relay.failed": len(result.failures), "relay.failure_codes": codes}
        return attributes, False
    return attributes | {"relay.outcome": result.kind.value, "error.type": result.code}, True


def _make_event_span(
    event: SettledEvent, ended_at: Instant, request: SpanContext | None
) -> FinishedSpan:
    attributes: dict[str, AttributeValue] = {
        "relay.event_id": event.event_id,
        "relay.event_type": event.type,
        "relay.entity": f"{event.ref.kind}/{event.ref.key}",
        "relay.status": event.status.value,
    }
    if event.error_code is not None:
        attributes["error.type"] = event.error_code
    return FinishedSpan(
        f"event {event.type}",
        SpanKind.INTERNAL,
        event.span,
        event.received_at,
        ended_at,
        attributes,
        links=() if request is None else (request,),
        is_error=event.error_code is not None,
    )
