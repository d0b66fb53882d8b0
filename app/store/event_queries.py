"""Finding events."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    func,
    literal,
    select,
    tuple_,
    union_all,
)

from app.domain.criteria import Criteria
from app.domain.entities import EntityKey, EntityRef, EntityState, EventStatus, Kind, Priority
from app.domain.events import EventId, EventType
from app.domain.history import (
    EntityView,
    EventCursor,
    EventPage,
    StoredEvent,
)
from app.domain.instants import Instant
from app.domain.traces import Trace
from app.store.schema import entities, events

# How many events one page reads, however few match: 2 to 9 ms.
WINDOW_EVENTS = 2_500
# Up to this many pending or dead entities, their events are found through them.
_FEW_ENTITIES = 5_000

IS_OF_EVENT = and_(events.c.kind == entities.c.kind, events.c.key == entities.c.key)
_IS_DESIRED = events.c.sequence == entities.c.sequence

_SELECT_EVENT: Select[Any] = select(
    events.c.event_id,
    events.c.type,
    events.c.sequence,
    events.c.occurred_at,
    events.c.received_at,
    events.c.kind,
    events.c.key,
    events.c.trace,
    entities.c.state,
    entities.c.row.is_(None).label("is_removed"),
    entities.c.is_removal,
    entities.c.priority,
    entities.c.occurred_at.label("desired_at"),
    entities.c.sequence.label("desired_sequence"),
    entities.c.applied_occurred_at,
    entities.c.applied_sequence,
    entities.c.applied_at,
    entities.c.pending_since,
    entities.c.attempts,
    entities.c.due_at,
    entities.c.last_error_code,
    entities.c.last_error,
)


def find_event(connection: Connection, event_id: EventId) -> StoredEvent | None:
    """Read one event and the state of its entity; None if it is not stored."""
    return find_events(connection, [event_id]).get(event_id)


def find_events(connection: Connection, event_ids: Sequence[EventId]) -> dict[EventId, StoredEvent]:
    """Read the stored events with these ids and the state of their entities."""
    statement = _SELECT_EVENT.join_from(events, entities, IS_OF_EVENT)
    rows = connection.execute(statement.where(events.c.event_id.in_(event_ids)))
    return {event.event_id: event for event in map(_to_event, rows)}


def read_event_page(
    connection: Connection,
    criteria: Criteria,
    before: EventCursor | None,
    limit: int,
    *,
    window_events: int = WINDOW_EVENTS,
) -> EventPage:
    """Read events that meet the criteria, newest first; those of one entity in order of receipt.

    It reads at most `window_events` events, so that every page takes the same time: a page may have
    fewer than `limit` events although more follow.
    """
    size = window_events
    if criteria == Criteria(since=criteria.since, until=criteria.until):
        size = limit + 1
    window = _find_window(connection, criteria, before, size)
    statement = (
        _SELECT_EVENT.select_from(window)
        .join(events, events.c.sequence == window.c.sequence)
        .join(entities, IS_OF_EVENT)
        .where(*match_events(criteria))
        .order_by(*_newest_first(criteria, events))
        .limit(limit + 1)
    )
    found = [_to_event(row) for row in connection.execute(statement)]
    if len(found) > limit:
        del found[limit:]
        return EventPage(tuple(found), EventCursor(found[-1].received_at, found[-1].sequence))
    # The window is exhausted: the next page begins at its end.
    end = connection.execute(
        select(window.c.received_at, window.c.sequence)
        .order_by(*_newest_first(criteria, window))
        .limit(1)
        .offset(size - 1)
    ).one_or_none()
    return EventPage(tuple(found), None if end is None else EventCursor(*end))


def match_events(criteria: Criteria) -> list[ColumnElement[bool]]:
    """Return the conditions on `events`, and on `entities` for a status or an error."""
    conditions = _match_receipt(criteria, events)
    if criteria.event_ids is not None:
        conditions.append(events.c.event_id.in_(criteria.event_ids))
    if criteria.types is not None:
        conditions.append(events.c.type.in_(criteria.types))
    match criteria.status:
        case None:
            pass
        case EventStatus.SUPERSEDED:
            conditions.append(events.c.sequence != entities.c.sequence)
        case status:
            conditions += [_IS_DESIRED, entities.c.state == status.value]
    if criteria.has_error:
        conditions += [_IS_DESIRED, *match_error(criteria)]
    return conditions


def match_error(criteria: Criteria) -> list[ColumnElement[bool]]:
    """Return the conditions on the last error of `entities`."""
    conditions: list[ColumnElement[bool]] = []
    if criteria.error_code is not None:
        conditions.append(entities.c.last_error_code == criteria.error_code)
    if criteria.error is not None:
        conditions.append(entities.c.last_error == criteria.error)
    return conditions


def _match_receipt(criteria: Criteria, source: FromClause) -> list[ColumnElement[bool]]:
    """Return the conditions on when an event was received."""
    conditions: list[ColumnElement[bool]] = []
    if criteria.since is not None:
        conditions.append(source.c.received_at >= criteria.since)
    if criteria.until is not None:
        conditions.append(source.c.received_at < criteria.until)
    return conditions


def walk_events_of(
    entity: EntityRef, before: EventCursor | None, limit: int | None, *, name: str = "walk"
) -> FromClause:
    """Select an entity's events, newest first, by each event's link to the previous one."""
    if before is None:
        newest = select(entities.c.latest_event).where(
            entities.c.kind == entity.kind, entities.c.key == entity.key
        )
    else:
        newest = select(events.c.previous_sequence).where(events.c.sequence == before.sequence)
    columns = (events.c.received_at, events.c.sequence, events.c.previous_sequence)
    walk = (
        select(*columns, literal(1).label("step"))
        .where(events.c.sequence == newest.scalar_subquery())
        .cte(name, recursive=True)
    )
    step = select(*columns, (walk.c.step + 1).label("step")).join_from(
        walk, events, events.c.sequence == walk.c.previous_sequence
    )
    return walk.union_all(step if limit is None else step.where(walk.c.step < limit))


def _find_window(
    connection: Connection, criteria: Criteria, before: EventCursor | None, size: int
) -> FromClause:
    """Select the received_at and sequence of the events to read, newest first."""
    if criteria.entity is not None:
        return walk_events_of(criteria.entity, before, size)
    source: FromClause = events
    states = _list_states(criteria)
    if states and all(_are_few(connection, state, criteria) for state in states):
        source = _select_desired(criteria, states)
    statement = select(source.c.received_at, source.c.sequence)
    if before is not None:
        position = tuple_(source.c.received_at, source.c.sequence)
        statement = statement.where(position < tuple_(*before))
    newest = statement.where(*_match_receipt(criteria, source)).order_by(
        *_newest_first(criteria, source)
    )
    return newest.limit(size).subquery("window_of_events")


def _list_states(criteria: Criteria) -> tuple[EntityState, ...]:
    """List the states that entities of matching events have, if few entities may have them."""
    match criteria.status:
        case EventStatus.PENDING | EventStatus.DEAD:
            return (EntityState(criteria.status.value),)
        case None if criteria.has_error:
            return (EntityState.PENDING, EntityState.DEAD)
        case _:
            return ()


def _select_desired(criteria: Criteria, states: Sequence[EntityState]) -> FromClause:
    """Select the events that decide the desired state of entities with a state and error."""
    desired = (
        select(events.c.received_at, events.c.sequence)
        .join_from(entities, events, and_(_IS_DESIRED, IS_OF_EVENT))
        .where(*match_error(criteria))
    )
    # One select for each state, as each has a partial index. Without MATERIALIZED, SQLite scans all
    # events in order of receipt to find these few: 8 s instead of 10 ms for three dead entities
    # among 400,000 events.
    each = [desired.where(entities.c.state == state.value) for state in states]
    return union_all(*each).cte("desired").prefix_with("MATERIALIZED")


def _are_few(connection: Connection, state: EntityState, criteria: Criteria) -> bool:
    some = select(entities.c.kind).where(entities.c.state == state.value)
    if state is EntityState.DEAD and criteria.error_code is not None:
        # They have an index, so that no more than these are read.
        some = some.where(*match_error(criteria))
    some = some.limit(_FEW_ENTITIES + 1)
    count = connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()
    return count <= _FEW_ENTITIES


def _newest_first(criteria: Criteria, source: FromClause) -> tuple[ColumnElement[Any], ...]:
    if criteria.entity is not None:
        return (source.c.sequence.desc(),)
    return source.c.received_at.desc(), source.c.sequence.desc()


def _to_event(row: Row[Any]) -> StoredEvent:
    state = EntityState(row.state)
    is_pending = state is EntityState.PENDING
    return StoredEvent(
        event_id=EventId(row.event_id),
        type=EventType(row.type),
        sequence=row.sequence,
        occurred_at=Instant(row.occurred_at),
        received_at=Instant(row.received_at),
        entity=EntityView(
            ref=EntityRef(Kind(row.kind), EntityKey(row.key)),
            state=state,
            is_removed=bool(row.is_removed),
            is_removal=bool(row.is_removal),
            desired_at=Instant(row.desired_at),
            desired_sequence=row.desired_sequence,
            applied_version_at=row.applied_occurred_at,
            applied_sequence=row.applied_sequence,
            applied_at=row.applied_at,
            pending_since=Instant(row.pending_since) if is_pending else None,
            attempts=row.attempts,
            # An entity that is due at once has been due since it became pending.
            next_attempt_at=Instant(max(row.due_at, row.pending_since)) if is_pending else None,
            is_retry=is_pending and Priority(row.priority).is_retry,
            last_error_code=row.last_error_code,
            last_error=row.last_error,
        ),
        trace=None if row.trace is None else Trace.from_text(row.trace),
    )
