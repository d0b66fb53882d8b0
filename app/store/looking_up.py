"""Reading events and the backlog."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, case, func, select

from app.domain.entities import EntityKey, EntityRef, EntityState, Kind
from app.domain.events import EventId, EventType
from app.domain.history import Backlog, EntityView, StoredEvent
from app.domain.instants import Instant
from app.store.schema import entities, events

_SELECT_EVENT: Select[Any] = select(
    events.c.event_id,
    events.c.type,
    events.c.sequence,
    events.c.occurred_at,
    events.c.received_at,
    events.c.kind,
    events.c.key,
    entities.c.state,
    entities.c.occurred_at.label("desired_at"),
    entities.c.sequence.label("desired_sequence"),
    entities.c.applied_sequence,
    entities.c.applied_at,
    entities.c.attempts,
    entities.c.due_at,
    entities.c.last_error_code,
    entities.c.last_error,
).join_from(
    events,
    entities,
    (events.c.kind == entities.c.kind) & (events.c.key == entities.c.key),
)


def find_events(connection: Connection, event_ids: Sequence[EventId]) -> list[StoredEvent]:
    """Read the events that are stored under these ids, and where their entities stand."""
    rows = connection.execute(_SELECT_EVENT.where(events.c.event_id.in_(event_ids)))
    return [_to_event(row) for row in rows]


def measure_backlog(connection: Connection) -> Backlog:
    """Count what is still to be done."""
    pending, oldest, oldest_removal = connection.execute(
        select(
            func.count(),
            func.min(entities.c.pending_since),
            func.min(case((entities.c.is_removal, entities.c.pending_since))),
        ).where(entities.c.state == EntityState.PENDING)
    ).one()
    dead = connection.execute(
        select(func.count()).select_from(entities).where(entities.c.state == EntityState.DEAD)
    ).scalar_one()
    return Backlog(
        pending=pending,
        oldest_pending_since=oldest,
        oldest_removal_since=oldest_removal,
        dead=dead,
    )


def _to_event(row: Row[Any]) -> StoredEvent:
    state = EntityState(row.state)
    return StoredEvent(
        event_id=EventId(row.event_id),
        type=EventType(row.type),
        sequence=row.sequence,
        occurred_at=Instant(row.occurred_at),
        received_at=Instant(row.received_at),
        entity=EntityView(
            ref=EntityRef(Kind(row.kind), EntityKey(row.key)),
            state=state,
            desired_at=Instant(row.desired_at),
            desired_sequence=row.desired_sequence,
            applied_sequence=row.applied_sequence,
            applied_at=row.applied_at,
            attempts=row.attempts,
            next_attempt_at=Instant(row.due_at) if state is EntityState.PENDING else None,
            last_error_code=row.last_error_code,
            last_error=row.last_error,
        ),
    )
