"""Claiming what is due and recording what became of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from app.domain.entities import EntityRef, EntityState, Kind, PendingEntity, Priority, Version
from app.domain.instants import Instant
from app.domain.retry import RetryDecision, latest_due_at
from app.store import statements
from app.store.cursors import Cursor, open_cursor
from app.store.write_session import WriteSession

# Calling the enumeration costs five times as much.
_KINDS: Final = {kind.value: kind for kind in Kind}
_UNIQUE_CONFLICT: Final = "23505"


@dataclass(frozen=True, slots=True)
class Applied:
    """Supabase holds the entity's row as it was claimed."""

    entity: PendingEntity


@dataclass(frozen=True, slots=True)
class Failed:
    """The entity failed by itself.

    Attributes:
        entity: as it was claimed.
        code: SQLSTATE or the like.
        message: one sentence without values.
        decision: what becomes of it.
        missing_parent: what it refers to and Supabase lacks, if that is known.
    """

    entity: PendingEntity
    code: str
    message: str
    decision: RetryDecision
    missing_parent: EntityRef | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The entity was part of a request that failed as a whole, with others.

    Attributes:
        entity: as it was claimed.
        request_limit: most entities of the next request that it is part of.
    """

    entity: PendingEntity
    request_limit: int


Outcome = Applied | Failed | Postponed


@dataclass(frozen=True, slots=True)
class Held:
    """What is not retried for now: one kind of entity, its deletes or its writes."""

    kind: Kind
    is_delete: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to claim.

    Attributes:
        order: the queues, first to last; the first that has anything due gives the batch.
        limits: most entities of a batch from each.
        held: what is left out of what failed before; a fresh change is always tried.
        trial: claim one of these instead, due or not.
        deletes_inactive: whether a membership that gives no access is deleted in Supabase.
        excluded: entities whose outcome at a revision could not be recorded yet.
    """

    order: Sequence[Priority]
    limits: Mapping[Priority, int]
    held: frozenset[Held] = frozenset()
    trial: Held | None = None
    deletes_inactive: bool = False
    excluded: Mapping[EntityRef, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities for one request.

    Attributes:
        priority: the queue that they come from.
        entities: at least one.
    """

    priority: Priority
    entities: Sequence[PendingEntity]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When there is something to do.

    Attributes:
        next_due_at: of what is pending; None where nothing is.
        is_skewed: whether something is due later than it can rightly be.
    """

    next_due_at: Instant | None
    is_skewed: bool


def record_and_claim(
    session: WriteSession, now: Instant, outcomes: Sequence[Outcome], wanted: Wanted | None
) -> Batch | None:
    """Record what became of batches, then claim the next; None where nothing is due.

    One transaction: each would cost an fsync and a place in the queue of incoming events.
    """
    _record(session, outcomes, now)
    return None if wanted is None else _claim(session.cursor, now, wanted)


def claim(connection: Connection, now: Instant, wanted: Wanted) -> Batch | None:
    """Claim without recording anything, which only reads: one dispatcher is active at a time."""
    with connection.begin():
        return _claim(open_cursor(connection), now, wanted)


def read_schedule(connection: Connection, now: Instant) -> Schedule:
    """Read when there is something to do next."""
    earliest: list[Instant] = []
    is_skewed = False
    with connection.begin():
        cursor = open_cursor(connection)
        for priority in Priority:
            values = {"priority": int(priority)}
            first, last = cursor.execute(statements.SCHEDULE, values).fetchone()
            if first is not None:
                earliest.append(first)
                is_skewed = is_skewed or last > latest_due_at(priority, now)
    return Schedule(min(earliest, default=None), is_skewed)


def correct_skew(session: WriteSession, now: Instant) -> int:
    """Make due what a clock that ran ahead has put off for too long, and count it."""
    return sum(
        session.cursor.execute(
            statements.MAKE_DUE,
            {"priority": int(priority), "latest": latest_due_at(priority, now)},
        ).rowcount
        for priority in Priority
    )


def _claim(cursor: Cursor, now: Instant, wanted: Wanted) -> Batch | None:
    if wanted.trial is not None:
        return _claim_trial(cursor, wanted.trial, wanted)
    held = "".join(_exclude(each, wanted) for each in sorted(wanted.held, key=repr))
    for priority in wanted.order:
        statement = statements.CLAIM.format(held=held if priority.is_retry else "")
        limit = wanted.limits[priority]
        values = {
            "priority": int(priority),
            "now": now,
            "limit": limit + len(wanted.excluded),
        }
        rows = cursor.execute(statement, values).fetchall()
        entities = _trim(map(_to_entity, rows), limit, wanted.excluded)
        if entities:
            return Batch(priority, entities)
    return None


def _claim_trial(cursor: Cursor, trial: Held, wanted: Wanted) -> Batch | None:
    statement = statements.CLAIM_HELD.format(is_deleted=_is_deleted(wanted))
    values = {"kind": trial.kind.value, "is_deleted": trial.is_delete}
    entities = [_to_entity(row) for row in cursor.execute(statement, values).fetchall()]
    return Batch(Priority.ALONE, entities) if entities else None


def _exclude(held: Held, wanted: Wanted) -> str:
    negation = "" if held.is_delete else "NOT "
    return f" AND NOT (kind = '{held.kind.value}' AND {negation}{_is_deleted(wanted)})"


def _is_deleted(wanted: Wanted) -> str:
    # A removal of a user or a trip has no row; a membership's may have one, with its status.
    return "is_removal" if wanted.deletes_inactive else "(row IS NULL)"


def _trim(
    entities: Iterable[PendingEntity], limit: int, excluded: Mapping[EntityRef, int]
) -> list[PendingEntity]:
    """Take entities in their order, no more than any of them may be together with."""
    taken: list[PendingEntity] = []
    for entity in entities:
        if excluded and excluded.get(entity.ref) == entity.revision:
            continue
        if entity.request_limit is not None:
            limit = min(limit, entity.request_limit)
        if len(taken) >= limit:
            break
        taken.append(entity)
    return taken


def _to_entity(row: tuple[Any, ...]) -> PendingEntity:
    kind, key, occurred_at, is_removal, sequence, text, revision, *rest = row
    return PendingEntity(
        EntityRef(_KINDS[kind], key),
        Version(occurred_at, bool(is_removal), sequence),
        text,
        revision,
        *rest,
    )


def _record(session: WriteSession, outcomes: Sequence[Outcome], now: Instant) -> None:
    """Record what became of entities.

    An outcome counts only for the revision that was claimed: what has changed since stays pending.
    """
    applied = [outcome.entity for outcome in outcomes if isinstance(outcome, Applied)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    postponed = [outcome for outcome in outcomes if isinstance(outcome, Postponed)]
    cursor = session.cursor
    returned = [entity for entity in applied if entity.row is not None]
    for kind, statement in _WRITE_CHILDREN_OF_RETURNED.items():
        cursor.executemany(statement, _key_params(returned, kind, now))
    cursor.executemany(
        statements.RECORD_APPLIED,
        [
            # Plain str and int: of anything else the driver asks first how it wants to be written.
            {
                "kind": entity.ref.kind.value,
                "key": entity.ref.key,
                "revision": entity.revision,
                "now": now,
            }
            for entity in applied
        ],
    )
    cursor.executemany(statements.RECORD_FAILURE, [_failure_params(each) for each in failed])
    cursor.executemany(
        statements.POSTPONE,
        [
            {
                "kind": each.entity.ref.kind.value,
                "key": each.entity.ref.key,
                "revision": each.entity.revision,
                "now": now,
                "request_limit": each.request_limit,
            }
            for each in postponed
        ],
    )
    cursor.executemany(statements.WRITE_PARENT_AGAIN, list(_parent_params(failed, now)))
    for kind in _list_conflicting_kinds(failed):
        values = {
            "priority": int(Priority.RETRIED_WRITE),
            "kind": kind.value,
            "code": _UNIQUE_CONFLICT,
        }
        cursor.execute(statements.GATHER_UNIQUE_CONFLICTS, values)
    # After all of the batch is recorded: what a delete cascaded to may have been written before it
    # in the same batch.
    for (kind, is_gone), statement in _TOUCH_CHILDREN.items():
        parents = [entity for entity in applied if (entity.row is None) is is_gone]
        cursor.executemany(statement, _key_params(parents, kind, now))


_WRITE_CHILDREN_OF_RETURNED: Final = {
    Kind.TRIP: statements.WRITE_CHILDREN_OF_RETURNED_TRIP_AGAIN,
    Kind.USER: statements.WRITE_CHILDREN_OF_RETURNED_USER_AGAIN,
}
_TOUCH_CHILDREN: Final = {
    (Kind.TRIP, True): statements.WRITE_CHILDREN_OF_TRIP_AGAIN,
    (Kind.TRIP, False): statements.RELEASE_CHILDREN_OF_TRIP,
    (Kind.USER, True): statements.WRITE_CHILDREN_OF_USER_AGAIN,
    (Kind.USER, False): statements.RELEASE_CHILDREN_OF_USER,
}


def _list_conflicting_kinds(failed: Collection[Failed]) -> list[Kind]:
    """List the kinds that have a new unique conflict, whose partners may be waiting."""
    return sorted(
        {
            each.entity.ref.kind
            for each in failed
            if each.code == _UNIQUE_CONFLICT and each.entity.attempts <= 1
        }
    )


def _key_params(
    entities: Sequence[PendingEntity], kind: Kind, now: Instant
) -> list[dict[str, Any]]:
    return [
        {"kind": kind.value, "key": entity.ref.key, "now": now}
        for entity in entities
        if entity.ref.kind is kind
    ]


def _failure_params(failed: Failed) -> dict[str, Any]:
    decision = failed.decision
    return {
        "kind": failed.entity.ref.kind.value,
        "key": failed.entity.ref.key,
        "revision": failed.entity.revision,
        "state": decision.state.value,
        "priority": int(decision.priority),
        "request_limit": decision.request_limit,
        "attempts": decision.attempts,
        "due_at": decision.due_at,
        "awaits_parent": decision.awaits_parent,
        "waiting_since": decision.waiting_since,
        "code": failed.code,
        "message": failed.message,
    }


def _parent_params(failed: Collection[Failed], now: Instant) -> Iterable[dict[str, Any]]:
    for each in failed:
        if each.missing_parent is not None and each.decision.state is EntityState.PENDING:
            yield {
                "kind": each.missing_parent.kind.value,
                "key": each.missing_parent.key,
                "now": now,
                "due_at": each.decision.due_at,
            }
