"""Spans of requests to Supabase, and of events from their receipt until their outcome."""

import contextlib
from collections.abc import Sequence
from typing import Final, NamedTuple

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

MAXIMUM_LINKS: Final = 128


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
    their traces. Without the store there are no spans.
    """

    def __init__(self, store: Store, tracer: Tracer) -> None:
        self._store = store
        self._tracer = tracer
        # Of the latest request of each entity, until its outcome is recorded.
        self._requests: dict[EntityRef, SpanContext] = {}

    async def record_request(self, sent: SentRequest, operations: Sequence[Operation]) -> None:
        """Record a request that has ended, if any of its events has a span.

        It belongs to the trace of the oldest of these events, and links to all of them.
        """
        entities = [entity for operation in operations for entity in operation.entities]
        events: dict[int, SpanContext] = {}
        with contextlib.suppress(StoreUnavailable):
            sequences = {entity.version.sequence for entity in entities}
            events = await self._store.read(trace_queries.find_spans, sequences)
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
        if context is not None:
            self._requests |= {entity.ref: context for entity in entities}

    async def record_outcomes(self, outcomes: Sequence[Outcome], now: Instant) -> None:
        """Record the events that recorded outcomes have settled."""
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
        events: list[SettledEvent] = []
        with contextlib.suppress(StoreUnavailable):
            refs = {ref for ref, _ in settled}
            events = await self._store.read(trace_queries.find_settled, refs)
        for event in events:
            # A newer revision has not been tried: its events wait for their own outcome.
            if (event.ref, event.revision) in settled:
                ended_at, request = settled[event.ref, event.revision]
                self._tracer.record(_make_event_span(event, ended_at, request))

    def forget_requests(self) -> None:
        """Forget the requests whose outcomes are not recorded: another replica dispatches."""
        self._requests.clear()


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
