"""Reading the traces of events, for a whole batch at once. Only for relays that export spans."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Text, bindparam, text

from app.domain.entities import EntityKey, EntityRef, EntityState, EventStatus, Kind
from app.domain.instants import Instant
from app.domain.traces import SpanContext, Trace

# Of one batch; a thousand events of one entity may wait for it.
_SETTLED_EVENTS: Final = 1000

# A list of pairs would have SQLite scan all entities.
_KEYS: Final = {Kind.USER: "users", Kind.TRIP: "trips", Kind.MEMBERSHIP: "memberships"}

_SELECT_TRACES: Final = text(
    "SELECT sequence, trace FROM events WHERE sequence IN :sequences AND trace IS NOT NULL"
).bindparams(bindparam("sequences", expanding=True))

# The events that an entity received while it was pending: each has one outcome, the one that ended
# the wait. A replayed or requeued entity became pending after the events that it is about.
_SELECT_SETTLED: Final = text("""
WITH RECURSIVE settled AS (
    SELECT entities.kind, entities.key, entities.revision, entities.sequence AS desired,
           entities.state, entities.pending_since, entities.last_error_code,
           events.sequence, events.previous_sequence
    FROM entities JOIN events ON events.sequence = entities.latest_event
    WHERE (entities.kind = 'user' AND entities.key IN :users
        OR entities.kind = 'trip' AND entities.key IN :trips
        OR entities.kind = 'membership' AND entities.key IN :memberships)
      AND entities.state <> 'pending'
      AND events.received_at >= entities.pending_since
    UNION ALL
    SELECT settled.kind, settled.key, settled.revision, settled.desired,
           settled.state, settled.pending_since, settled.last_error_code,
           events.sequence, events.previous_sequence
    FROM settled JOIN events ON events.sequence = settled.previous_sequence
    WHERE events.received_at >= settled.pending_since
)
SELECT settled.kind, settled.key, settled.revision, settled.desired, settled.state,
       settled.last_error_code, events.sequence, events.event_id, events.type,
       events.received_at, events.trace
FROM settled JOIN events ON events.sequence = settled.sequence
WHERE events.trace IS NOT NULL
LIMIT :limit
""").bindparams(*(bindparam(name, expanding=True, type_=Text()) for name in _KEYS.values()))


@dataclass(frozen=True, slots=True)
class SettledEvent:
    """An event with a span, whose entity was pending and is no longer.

    Attributes:
        revision: of its entity.
        status: applied, dead or superseded.
        error_code: why it is dead.
        span: of the request that brought it.
    """

    ref: EntityRef
    revision: int
    event_id: str
    type: str
    status: EventStatus
    error_code: str | None
    received_at: Instant
    span: SpanContext


def find_spans(connection: Connection, sequences: Iterable[int]) -> dict[int, SpanContext]:
    """Return the spans of the requests that brought these events, by sequence, oldest first."""
    rows = connection.execute(_SELECT_TRACES, {"sequences": sorted(sequences)})
    spans = {sequence: Trace.from_text(trace).span for sequence, trace in sorted(map(tuple, rows))}
    return {sequence: span for sequence, span in spans.items() if span is not None}


def find_settled(connection: Connection, refs: Iterable[EntityRef]) -> list[SettledEvent]:
    """Return the events with a span that entities received while they were pending."""
    keys: dict[str, list[str]] = {name: [] for name in _KEYS.values()}
    for ref in refs:
        keys[_KEYS[ref.kind]].append(ref.key)
    rows = connection.execute(_SELECT_SETTLED, {**keys, "limit": _SETTLED_EVENTS})
    return [event for row in rows if (event := _to_settled(row)) is not None]


def _to_settled(row: Sequence[Any]) -> SettledEvent | None:
    kind, key, revision, desired, state, code, sequence, event_id, event_type, received_at, ids = (
        row
    )
    span = Trace.from_text(ids).span
    if span is None:
        return None
    status = EventStatus.SUPERSEDED
    if sequence == desired:
        status = EventStatus(EntityState(state).value)
    return SettledEvent(
        EntityRef(Kind(kind), EntityKey(key)),
        revision,
        event_id,
        event_type,
        status,
        code if status is EventStatus.DEAD else None,
        Instant(received_at),
        span,
    )
