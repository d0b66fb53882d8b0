"""Replays: counting what is meant, marking it to be written again, and the record of it all.

A replay advances by windows. Each is one transaction that marks some entities and notes the place
where the next one begins, so that a replay goes on where it was, whatever ends the process.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
)

from app.domain.criteria import Criteria, read_criteria, write_criteria
from app.domain.entities import EntityRef, EntityState, Priority
from app.domain.events import EventId
from app.domain.history import (
    Matches,
    Replay,
    ReplayId,
    ReplayPage,
    ReplayStatus,
    StoredEvent,
)
from app.domain.instants import Instant
from app.store.group_commit import WriteSession
from app.store.looking_up import find_events, match_events, walk_events_of
from app.store.schema import entities, events, replays

_IDS_PER_QUERY = 500
_key = tuple_(entities.c.kind, entities.c.key)
_position = tuple_(events.c.received_at, events.c.sequence)
_OF_EVENT = and_(events.c.kind == entities.c.kind, events.c.key == entities.c.key)


@dataclass(frozen=True, slots=True)
class _Window:
    """Which entities are next: a condition on them, and where to go on; None at the end."""

    condition: ColumnElement[bool]
    place: str | None


def find_events_by_ids(
    connection: Connection, event_ids: Sequence[EventId]
) -> dict[EventId, StoredEvent]:
    """Read the events that are stored under these ids."""
    found: dict[EventId, StoredEvent] = {}
    for start in range(0, len(event_ids), _IDS_PER_QUERY):
        chunk = event_ids[start : start + _IDS_PER_QUERY]
        found |= {event.event_id: event for event in find_events(connection, chunk)}
    return found


def count_matches(connection: Connection, criteria: Criteria) -> Matches:
    """Count what criteria other than ids meet.

    With nothing but a status, entities are counted that stand there, and the events that they
    stand at: a membership that fell with its trip has none of its own.
    """
    if criteria.is_about_events:
        per_entity = _select_matching(criteria, func.count().label("matched"))
        groups = per_entity.group_by(events.c.kind, events.c.key).subquery("groups")
        total = select(func.coalesce(func.sum(groups.c.matched), 0), func.count())
        return Matches(*connection.execute(total.select_from(groups)).one())
    if criteria.entity is not None:
        window = _find_entity(criteria, criteria.entity)
        of_it = select(func.count()).select_from(entities).where(window.condition)
        return Matches(
            connection.execute(_select_matching(criteria, func.count())).scalar_one(),
            connection.execute(of_it).scalar_one(),
        )
    if criteria.status is None:
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (events, entities)
        ]
        return Matches(*counts)
    at_their_event = and_(events.c.sequence == entities.c.sequence, _OF_EVENT)
    statement = (
        select(func.count(events.c.sequence), func.count())
        .select_from(entities.outerjoin(events, at_their_event))
        .where(entities.c.state == criteria.status.value)
    )
    return Matches(*connection.execute(statement).one())


def begin_replay(
    session: WriteSession,
    *,
    replay_id: ReplayId,
    criteria: Criteria,
    matches: Matches,
    requested_by: str | None,
    now: Instant,
) -> None:
    """Note who has what replayed, and when, before anything is marked."""
    session.connection.execute(
        insert(replays).values(
            replay_id=replay_id,
            requested_at=now,
            requested_by=requested_by,
            filter=write_criteria(criteria),
            status=ReplayStatus.RUNNING,
            matched_events=matches.events,
            entities=matches.entities,
            marked=0,
            superseded=0,
        )
    )


def advance_replay(session: WriteSession, number: int, now: Instant, size: int) -> bool:
    """Mark what the next `size` events or entities bring; False when nothing is left to do.

    An entity that this replay has marked before is not marked again.
    """
    connection = session.connection
    row = connection.execute(
        select(replays.c.filter, replays.c.place)
        .where(replays.c.number == number, replays.c.status == ReplayStatus.RUNNING)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return False
    window = _find_window(connection, read_criteria(row.filter), row.place, size)
    not_yet = window.condition & entities.c.replay.is_distinct_from(number)
    _note_superseded(connection, not_yet)
    marked = connection.execute(
        update(entities)
        .where(not_yet)
        .values(
            replay=number,
            state=EntityState.PENDING,
            priority=case(
                (entities.c.state == EntityState.APPLIED, Priority.REPLAY),
                else_=entities.c.priority,
            ),
            revision=entities.c.revision + 1,
            pending_since=case(
                (entities.c.state == EntityState.PENDING, entities.c.pending_since), else_=now
            ),
            due_at=now,
            attempts=0,
            awaits_parent=False,
            waiting_since=None,
            last_error_code=None,
            last_error=None,
        )
    ).rowcount
    status = ReplayStatus.COMPLETED if window.place is None else ReplayStatus.RUNNING
    connection.execute(
        update(replays)
        .where(replays.c.number == number)
        .values(marked=replays.c.marked + marked, place=window.place, status=status)
    )
    return window.place is not None


def fail_replay(session: WriteSession, number: int) -> None:
    """Give a replay up; what it has marked stays marked."""
    session.connection.execute(
        update(replays).where(replays.c.number == number).values(status=ReplayStatus.FAILED)
    )


def find_running_replay(connection: Connection) -> int | None:
    """Give the number of the first replay that is not completed; None without any."""
    statement = select(func.min(replays.c.number))
    return connection.execute(
        statement.where(replays.c.status == ReplayStatus.RUNNING)
    ).scalar_one_or_none()


def read_replay(connection: Connection, replay_id: ReplayId) -> Replay | None:
    """Read one replay and what has come of it so far; None where there is no such."""
    found = connection.execute(
        select(replays).where(replays.c.replay_id == replay_id)
    ).one_or_none()
    return None if found is None else _to_replay(connection, found)


def read_replay_page(connection: Connection, before: int | None, limit: int) -> ReplayPage:
    """Read replays, newest first."""
    statement = select(replays).order_by(replays.c.number.desc()).limit(limit + 1)
    if before is not None:
        statement = statement.where(replays.c.number < before)
    rows = connection.execute(statement).all()
    page = tuple(_to_replay(connection, row) for row in rows[:limit])
    return ReplayPage(page, page[-1].number if len(rows) > limit else None)


def _select_matching(criteria: Criteria, *columns: ColumnElement[Any]) -> Select[Any]:
    source = events if criteria.status is None else events.join(entities, _OF_EVENT)
    statement = select(*columns).select_from(source).where(*match_events(criteria))
    if criteria.entity is not None:
        walk = walk_events_of(criteria.entity, None, None)
        statement = statement.where(events.c.sequence.in_(select(walk.c.sequence)))
    return statement


def _find_window(
    connection: Connection, criteria: Criteria, place: str | None, size: int
) -> _Window:
    if criteria.event_ids is not None:
        return _cut_ids(connection, criteria, place, size)
    if criteria.entity is not None:
        return _find_entity(criteria, criteria.entity)
    if criteria.is_about_events:
        return _cut_events(connection, criteria, place, size)
    return _cut_entities(connection, criteria, place, size)


def _cut_ids(connection: Connection, criteria: Criteria, place: str | None, size: int) -> _Window:
    start = 0 if place is None else int(place)
    event_ids = criteria.event_ids or ()
    size = min(size, _IDS_PER_QUERY)
    found = find_events(connection, event_ids[start : start + size])
    refs = {event.entity.ref for event in found if criteria.matches(event)}
    end = start + size
    return _Window(
        _key.in_([tuple(ref) for ref in sorted(refs)]),
        str(end) if end < len(event_ids) else None,
    )


def _find_entity(criteria: Criteria, entity: EntityRef) -> _Window:
    condition = and_(entities.c.kind == entity.kind, entities.c.key == entity.key)
    if criteria.is_about_events:
        matching = _select_matching(criteria, events.c.sequence)
        return _Window(condition & matching.exists(), None)
    if criteria.status is not None:
        condition &= entities.c.state == criteria.status.value
    return _Window(condition, None)


def _cut_events(
    connection: Connection, criteria: Criteria, place: str | None, size: int
) -> _Window:
    """Take the next events in the order of receipt, and the entities of those that match."""
    bounds: list[ColumnElement[bool]] = []
    if place is not None:
        bounds.append(_position > tuple_(*json.loads(place)))
    if criteria.since is not None:
        bounds.append(events.c.received_at >= criteria.since)
    if criteria.until is not None:
        bounds.append(events.c.received_at < criteria.until)
    in_order = (events.c.received_at, events.c.sequence)
    end = connection.execute(
        select(*in_order).where(*bounds).order_by(*in_order).limit(1).offset(size - 1)
    ).one_or_none()
    if end is not None:
        bounds.append(_position <= tuple_(*end))
    matching = _select_matching(criteria, events.c.kind, events.c.key).where(*bounds)
    return _Window(_key.in_(matching), None if end is None else json.dumps(tuple(end)))


def _cut_entities(
    connection: Connection, criteria: Criteria, place: str | None, size: int
) -> _Window:
    """Take the next entities in the order of kind and key."""
    bounds: list[ColumnElement[bool]] = []
    if place is not None:
        bounds.append(_key > tuple_(*json.loads(place)))
    if criteria.status is not None:
        bounds.append(entities.c.state == criteria.status.value)
    in_order = (entities.c.kind, entities.c.key)
    end = connection.execute(
        select(*in_order).where(*bounds).order_by(*in_order).limit(1).offset(size - 1)
    ).one_or_none()
    if end is not None:
        bounds.append(_key <= tuple_(*end))
    return _Window(and_(true(), *bounds), None if end is None else json.dumps(tuple(end)))


def _note_superseded(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Note with other replays what they had marked and will not see settled."""
    taken = connection.execute(
        select(entities.c.replay, func.count())
        .where(condition, entities.c.replay.is_not(None), entities.c.state != EntityState.APPLIED)
        .group_by(entities.c.replay)
    ).all()
    for number, count in taken:
        connection.execute(
            update(replays)
            .where(replays.c.number == number)
            .values(superseded=replays.c.superseded + count)
        )


def _to_replay(connection: Connection, row: Row[Any]) -> Replay:
    of_it = entities.c.replay == row.number
    counts = connection.execute(
        select(entities.c.state, func.count())
        .where(of_it, entities.c.state != EntityState.APPLIED)
        .group_by(entities.c.state)
    )
    unsettled: dict[str, int] = {state: count for state, count in counts}  # noqa: C416 - rows
    return Replay(
        number=row.number,
        replay_id=ReplayId(row.replay_id),
        requested_at=Instant(row.requested_at),
        requested_by=row.requested_by,
        criteria=row.filter,
        status=ReplayStatus(row.status),
        matches=Matches(row.matched_events, row.entities),
        marked=row.marked,
        waiting=unsettled.get(EntityState.PENDING.value, 0),
        dead=unsettled.get(EntityState.DEAD.value, 0),
        superseded=row.superseded,
    )
