"""Picking what is due and recording what came of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.domain.entities import (
    EntityKey,
    EntityRef,
    Kind,
    PendingEntity,
    Priority,
    Version,
    find_parent,
)
from app.domain.failures import Failure
from app.domain.instants import Instant
from app.domain.retry import Verdict
from app.store import flying, statements
from app.store.cursors import Cursor, open_cursor
from app.store.write_session import WriteSession

_PICK = {
    Priority.ACCESS_TAKEN: statements.PICK_REMOVALS,
    Priority.CHANGE: statements.PICK_WRITES,
    Priority.REPLAY: statements.PICK_WRITES,
}
# To call the enumeration costs five times as much.
_KINDS = {kind.value: kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class Applied:
    """Supabase holds the entity's row as it was picked."""

    entity: PendingEntity


@dataclass(frozen=True, slots=True)
class Refused:
    """Supabase did not take the row; the verdict says what becomes of the entity."""

    entity: PendingEntity
    failure: Failure
    verdict: Verdict


Outcome = Applied | Refused


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities that were picked together, and are noted as what may land.

    Attributes:
        entities: at least one, in the order in which they were picked.
        urgent: how many of them, the first, go before all else: they take access away.
        flight: names the note.
        until: how long the note lasts.
    """

    entities: Sequence[PendingEntity]
    urgent: int
    flight: int
    until: Instant


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch with which the dispatcher is done.

    Attributes:
        batch: as it was begun.
        outcomes: of those entities that were answered, and of others that were tried with them.
        uncertain: those whose request may land yet; they stay noted.
    """

    batch: Batch
    outcomes: Sequence[Outcome] = ()
    uncertain: Collection[EntityRef] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch to begin.

    Attributes:
        limit: of its entities.
        until: when its requests can no longer land.
        besides: a batch that is out: what is in it waits until it is known what came of that.
    """

    limit: int
    until: Instant
    besides: Batch | None = None


def turn(
    session: WriteSession, now: Instant, ended: Sequence[Ended], wanted: Wanted | None
) -> Batch | None:
    """Record batches that have ended, then begin another; None where nothing is due.

    All in one transaction, as each would cost an fsync and its turn among the events that arrive.
    """
    for each in ended:
        _record_outcomes(session, each.outcomes, now)
        flying.end_flight(session, each.batch.flight, each.uncertain)
    return None if wanted is None else _begin_batch(session.cursor, now, wanted)


def _begin_batch(cursor: Cursor, now: Instant, wanted: Wanted) -> Batch | None:
    taken = () if wanted.besides is None else wanted.besides.entities
    entities, urgent = _pick(cursor, now, wanted.limit, {entity.ref.key for entity in taken})
    if not entities:
        return None
    flight = flying.note_flight(cursor, [entity.ref for entity in entities], wanted.until)
    return Batch(entities, urgent, flight, wanted.until)


def _pick(
    cursor: Cursor, now: Instant, limit: int, taken: Collection[EntityKey]
) -> tuple[list[PendingEntity], int]:
    """Pick without those whose key is taken, also by one of another kind: they wait for a batch."""
    picked: list[PendingEntity] = []
    urgent = 0
    for priority, statement in _PICK.items():
        wanted = limit - len(picked)
        if wanted <= 0:
            break
        values = {"priority": priority, "now": now, "limit": wanted + len(taken)}
        rows = cursor.execute(statement, values).fetchall()
        if taken:
            rows = [row for row in rows if row[1] not in taken]
        picked += map(_to_entity, rows[:wanted])
        if priority == Priority.ACCESS_TAKEN:
            urgent = len(picked)
    return picked, urgent


def read_urgent(connection: Connection, now: Instant, limit: int) -> set[tuple[EntityRef, int]]:
    """Read some due entities that go before all else, with their revisions."""
    with connection.begin():
        cursor = open_cursor(connection)
        rows = cursor.execute(statements.SELECT_URGENT, {"now": now, "limit": limit}).fetchall()
    return {(EntityRef(_KINDS[kind], key), revision) for kind, key, revision in rows}


def pick_contested(connection: Connection, kind: Kind, limit: int) -> list[PendingEntity]:
    """Read pending entities that were refused a value which another row held, due or not."""
    with connection.begin():
        cursor = open_cursor(connection)
        values = {"kind": kind.value, "limit": limit}
        return list(map(_to_entity, cursor.execute(statements.PICK_CONTESTED, values).fetchall()))


def _to_entity(row: tuple[Any, ...]) -> PendingEntity:
    kind, key, occurred_at, is_removal, sequence, text, revision, attempts, waiting, pending = row
    return PendingEntity(
        EntityRef(_KINDS[kind], key),
        Version(occurred_at, bool(is_removal), sequence),
        text,
        revision,
        attempts,
        waiting,
        pending,
    )


def read_next_due(connection: Connection) -> Instant | None:
    """Read when there is something to do next; None without any."""
    with connection.begin():
        cursor = open_cursor(connection)
        due = [cursor.execute(statements.NEXT_FLIGHT_OVER).fetchone()[0]]
        due += [
            cursor.execute(statements.NEXT_DUE, {"priority": priority}).fetchone()[0]
            for priority in Priority.ALL
        ]
    return min((instant for instant in due if instant is not None), default=None)


def _record_outcomes(session: WriteSession, outcomes: Sequence[Outcome], now: Instant) -> None:
    """Record what came of a batch.

    An outcome counts only for the revision that was picked: what has changed since stays pending.
    """
    cursor = session.cursor
    applied = [outcome.entity for outcome in outcomes if isinstance(outcome, Applied)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    for kind, statement in _WRITE_CHILDREN_OF_RETURNED.items():
        returned = [entity for entity in applied if entity.row is not None]
        cursor.executemany(statement, _name(returned, kind, now))
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
    cursor.executemany(statements.RECORD_FAILURE, [_describe(outcome) for outcome in refused])
    cursor.executemany(
        statements.WRITE_PARENT_AGAIN,
        [
            {
                "kind": parent.kind.value,
                "key": parent.key,
                "now": now,
                "due_at": outcome.verdict.due_at,
            }
            for outcome in refused
            if outcome.verdict.awaits_parent
            if (parent := find_parent(outcome.entity, outcome.failure.field)) is not None
        ],
    )
    # After all of the batch is recorded: a removal comes last in it, and what it cascaded to may
    # have been written before it in the same batch.
    for (kind, is_gone), statement in _TOUCH_CHILDREN.items():
        parents = [entity for entity in applied if (entity.row is None) is is_gone]
        cursor.executemany(statement, _name(parents, kind, now))


_WRITE_CHILDREN_OF_RETURNED = {
    Kind.TRIP: statements.WRITE_CHILDREN_OF_RETURNED_TRIP_AGAIN,
    Kind.USER: statements.WRITE_CHILDREN_OF_RETURNED_USER_AGAIN,
}
_TOUCH_CHILDREN = {
    (Kind.TRIP, True): statements.WRITE_CHILDREN_OF_TRIP_AGAIN,
    (Kind.TRIP, False): statements.RELEASE_CHILDREN_OF_TRIP,
    (Kind.USER, True): statements.WRITE_CHILDREN_OF_USER_AGAIN,
    (Kind.USER, False): statements.RELEASE_CHILDREN_OF_USER,
}


def _name(entities: Sequence[PendingEntity], kind: Kind, now: Instant) -> list[dict[str, Any]]:
    return [
        {"kind": kind.value, "key": entity.ref.key, "now": now}
        for entity in entities
        if entity.ref.kind is kind
    ]


def _describe(refused: Refused) -> dict[str, Any]:
    return {
        "kind": refused.entity.ref.kind.value,
        "key": refused.entity.ref.key,
        "revision": refused.entity.revision,
        "state": refused.verdict.state.value,
        "attempts": refused.verdict.attempts,
        "due_at": refused.verdict.due_at,
        "awaits_parent": refused.verdict.awaits_parent,
        "waiting_since": refused.verdict.waiting_since,
        "code": refused.failure.code,
        "message": refused.failure.message,
    }
