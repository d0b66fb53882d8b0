"""Replays: counting, requeueing entities in steps, and the record of each replay.

A replay requeues its entities in order of kind and key. Each step is one transaction that requeues
some and stores the last of them, so that a replay resumes there after a crash. In the order of the
events each entity would dirty a page of its own: that was thirty times slower.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    func,
    insert,
    select,
    tuple_,
    update,
)

from app.domain.criteria import Criteria, read_criteria, write_criteria
from app.domain.entities import EntityKey, EntityRef, EntityState, Kind, Priority
from app.domain.history import Matches, Replay, ReplayId, ReplayPage, ReplayStatus
from app.domain.instants import Instant
from app.store.event_queries import IS_OF_EVENT, match_error, match_events, walk_events_of
from app.store.notifications import REPLAY, notify
from app.store.schema import entities, events, replays

# As `PendingEntity.priority`.
_FRESH: ColumnElement[int] = case(
    (~entities.c.is_removal, Priority.WRITE),
    (entities.c.kind == Kind.MEMBERSHIP, Priority.REVOCATION),
    else_=Priority.DELETE,
)


def count_matches(connection: Connection, criteria: Criteria) -> Matches:
    """Count the events and entities that meet criteria.

    With a status or an error alone, it counts the entities in that state and the events that decide
    their desired state: a membership that was removed with its trip has no such event.
    """
    matching = _select_matching(criteria, events.c.sequence)
    targets = _select_targets(criteria, None).order_by(None)
    matched_events, matched_entities = (
        connection.execute(select(func.count()).select_from(each.subquery())).scalar_one()
        for each in (matching, targets)
    )
    return Matches(matched_events, matched_entities)


def begin_replay(
    connection: Connection,
    *,
    replay_id: ReplayId,
    criteria: Criteria,
    matches: Matches,
    requested_by: str | None,
    now: Instant,
) -> None:
    """Record a replay before anything is requeued."""
    connection.execute(
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
    notify(connection, REPLAY)


def find_targets(connection: Connection, number: int, limit: int) -> list[EntityRef]:
    """Find the next entities of a replay, in order; none at its end."""
    row = connection.execute(
        select(replays.c.filter, replays.c.resume_after).where(replays.c.number == number)
    ).one()
    targets = _select_targets(read_criteria(row.filter), _read_ref(row.resume_after))
    return [EntityRef(Kind(kind), key) for kind, key in connection.execute(targets.limit(limit))]


def requeue_targets(
    connection: Connection, number: int, targets: Sequence[EntityRef], now: Instant
) -> bool:
    """Requeue entities at their current desired state and store how far the replay is.

    Without entities, the replay is completed. Entities that it has already passed are skipped: an
    earlier step whose result was lost may have been committed, or another replica may have run it.

    Returns:
        Whether the replay continues; False if it is not running.
    """
    running = select(replays.c.resume_after).where(
        replays.c.number == number, replays.c.status == ReplayStatus.RUNNING
    )
    row = connection.execute(running.with_for_update()).one_or_none()
    if row is None:
        return False
    passed = _read_ref(row.resume_after)
    refs = [ref for ref in targets if passed is None or ref > passed]
    are_targets = tuple_(entities.c.kind, entities.c.key).in_([tuple(ref) for ref in refs])
    _count_superseded(connection, number, are_targets)
    marked = connection.execute(
        update(entities)
        .where(are_targets)
        .values(
            replay=number,
            state=EntityState.PENDING,
            priority=case(
                (entities.c.state == EntityState.APPLIED, _FRESH + Priority.REPLAYED_REVOCATION),
                (entities.c.state == EntityState.DEAD, _FRESH),
                else_=entities.c.priority,
            ),
            revision=entities.c.revision + 1,
            pending_since=case(
                (entities.c.state == EntityState.PENDING, entities.c.pending_since), else_=now
            ),
            due_at=0,
            attempts=0,
            awaits_parent=False,
            waiting_since=None,
            last_error_code=None,
            last_error=None,
        )
    ).rowcount
    values: dict[str, Any] = {"marked": replays.c.marked + marked}
    if refs:
        values["resume_after"] = json.dumps(tuple(refs[-1]))
    if not targets:
        values["status"] = ReplayStatus.COMPLETED
    connection.execute(update(replays).where(replays.c.number == number).values(**values))
    return bool(targets)


def fail_replay(connection: Connection, number: int) -> None:
    """Mark a replay as failed; what it has requeued stays requeued."""
    connection.execute(
        update(replays).where(replays.c.number == number).values(status=ReplayStatus.FAILED)
    )


def find_running_replay(connection: Connection) -> int | None:
    """Return the number of the oldest running replay; None without any."""
    statement = select(func.min(replays.c.number))
    return connection.execute(
        statement.where(replays.c.status == ReplayStatus.RUNNING)
    ).scalar_one_or_none()


def read_replay(connection: Connection, replay_id: ReplayId) -> Replay | None:
    """Read one replay and its progress; None if it does not exist."""
    found = connection.execute(
        select(replays).where(replays.c.replay_id == replay_id)
    ).one_or_none()
    return None if found is None else _to_replay(connection, found)


def read_replay_page(connection: Connection, before: int | None, limit: int) -> ReplayPage:
    """Read replays, newest first, those before a number."""
    statement = select(replays).order_by(replays.c.number.desc()).limit(limit + 1)
    if before is not None:
        statement = statement.where(replays.c.number < before)
    rows = connection.execute(statement).all()
    page = tuple(_to_replay(connection, row) for row in rows[:limit])
    return ReplayPage(page, page[-1].number if len(rows) > limit else None)


def _select_matching(criteria: Criteria, *columns: ColumnElement[Any]) -> Select[Any]:
    needs_state = criteria.status is not None or criteria.has_error
    source = events.join(entities, IS_OF_EVENT) if needs_state else events
    statement = select(*columns).select_from(source).where(*match_events(criteria))
    if criteria.entity is not None:
        walk = walk_events_of(criteria.entity, None, None)
        statement = statement.where(events.c.sequence.in_(select(walk.c.sequence)))
    return statement


def _read_ref(text: str | None) -> EntityRef | None:
    if text is None:
        return None
    kind, key = json.loads(text)
    return EntityRef(Kind(kind), EntityKey(key))


def _select_targets(criteria: Criteria, after: EntityRef | None) -> Select[Any]:
    """Select the kinds and keys of the entities to requeue, in order."""
    if criteria.needs_event_scan:
        kind, key = events.c.kind, events.c.key
        statement = _select_matching(criteria, kind, key).distinct()
    else:
        kind, key = entities.c.kind, entities.c.key
        statement = select(kind, key).where(*_match_entities(criteria))
    if after is not None:
        statement = statement.where(tuple_(kind, key) > tuple_(after.kind.value, after.key))
    return statement.order_by(kind, key)


def _match_entities(criteria: Criteria) -> list[ColumnElement[bool]]:
    """Return conditions on the entities, for criteria that need no events."""
    conditions: list[ColumnElement[bool]] = []
    if criteria.entity is not None:
        conditions += [
            entities.c.kind == criteria.entity.kind,
            entities.c.key == criteria.entity.key,
        ]
    if criteria.status is not None:
        conditions.append(entities.c.state == criteria.status.value)
    return conditions + match_error(criteria)


def _count_superseded(
    connection: Connection, number: int, are_targets: ColumnElement[bool]
) -> None:
    """Count, in earlier replays, the entities that this replay takes over before they settle."""
    superseded = connection.execute(
        select(entities.c.replay, func.count())
        .where(
            are_targets,
            entities.c.replay != number,
            entities.c.state != EntityState.APPLIED,
        )
        .group_by(entities.c.replay)
    ).all()
    for earlier, count in superseded:
        connection.execute(
            update(replays)
            .where(replays.c.number == earlier)
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
