"""Picking what is due and recording what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

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
from app.store import statements
from app.store.write_session import WriteSession

_PICK = {
    Priority.ACCESS_TAKEN: text(statements.PICK_REMOVALS),
    Priority.CHANGE: text(statements.PICK_WRITES),
    Priority.REPLAY: text(statements.PICK_WRITES),
}
_PICK_CONTESTED = text(statements.PICK_CONTESTED)
_NEXT_FLIGHT_OVER = text(statements.NEXT_FLIGHT_OVER)
_NEXT_DUE = text(statements.NEXT_DUE)


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


def pick_pending(connection: Connection, now: Instant, limit: int) -> list[PendingEntity]:
    """Read at most `limit` due entities: what takes access away first, then oldest first."""
    picked: list[PendingEntity] = []
    for priority, statement in _PICK.items():
        wanted = limit - len(picked)
        if wanted <= 0:
            break
        rows = connection.execute(statement, {"priority": priority, "now": now, "limit": wanted})
        picked.extend(_to_entity(row) for row in rows)
    return picked


def pick_contested(connection: Connection, kind: Kind, limit: int) -> list[PendingEntity]:
    """Read pending entities that were refused a value which another row held, due or not."""
    rows = connection.execute(_PICK_CONTESTED, {"kind": kind, "limit": limit})
    return [_to_entity(row) for row in rows]


def _to_entity(row: Row[Any]) -> PendingEntity:
    return PendingEntity(
        ref=EntityRef(Kind(row.kind), EntityKey(row.key)),
        version=Version(row.occurred_at, bool(row.is_removal), row.sequence),
        row=row.row,
        revision=row.revision,
        attempts=row.attempts,
        waiting_since=row.waiting_since,
        pending_since=row.pending_since,
        in_flight_until=row.in_flight_until,
    )


def read_next_due(connection: Connection) -> Instant | None:
    """Read when there is something to do next; None without any."""
    due = [connection.execute(_NEXT_FLIGHT_OVER).scalar_one()]
    due += [
        connection.execute(_NEXT_DUE, {"priority": priority}).scalar_one()
        for priority in Priority.ALL
    ]
    return min((instant for instant in due if instant is not None), default=None)


def note_in_flight(
    session: WriteSession, entities: Sequence[PendingEntity], until: Instant
) -> None:
    """Note that requests for these entities may land until then."""
    session.cursor.executemany(
        statements.NOTE_IN_FLIGHT,
        [{"kind": e.ref.kind, "key": e.ref.key, "until": until} for e in entities],
    )


def forget_in_flight(
    session: WriteSession, entities: Sequence[PendingEntity], until: Instant
) -> None:
    """Take that note back where it is certain what came of the request, or that none was sent."""
    session.cursor.executemany(
        statements.FORGET_IN_FLIGHT,
        [
            {
                "kind": entity.ref.kind,
                "key": entity.ref.key,
                "until": until,
                "earlier": entity.in_flight_until,
            }
            for entity in entities
        ],
    )


def write_again(
    session: WriteSession, refs: Sequence[EntityRef], now: Instant, until: Instant
) -> None:
    """Have entities written once more, now and after the last time that a request may land."""
    session.cursor.executemany(
        statements.WRITE_AGAIN,
        [{"kind": ref.kind, "key": ref.key, "now": now, "until": until} for ref in refs],
    )


def end_flights(session: WriteSession, now: Instant) -> int:
    """Have what a late request may have undone written once more, and say how many."""
    return session.cursor.execute(statements.WRITE_AGAIN_AFTER_FLIGHT, {"now": now}).rowcount


def record_outcomes(session: WriteSession, outcomes: Sequence[Outcome], now: Instant) -> None:
    """Record what came of a batch.

    An outcome counts only for the revision that was picked: what has changed since stays pending.
    """
    applied = [outcome.entity for outcome in outcomes if isinstance(outcome, Applied)]
    for entity in applied:
        _touch_children_of_returned(session, entity, now)
    session.cursor.executemany(
        statements.RECORD_APPLIED,
        [
            {
                "kind": entity.ref.kind,
                "key": entity.ref.key,
                "revision": entity.revision,
                "occurred_at": entity.version.occurred_at,
                "sequence": entity.version.sequence,
                "now": now,
            }
            for entity in applied
        ],
    )
    session.cursor.executemany(
        statements.RECORD_FAILURE,
        [
            {
                "kind": refused.entity.ref.kind,
                "key": refused.entity.ref.key,
                "revision": refused.entity.revision,
                "state": refused.verdict.state,
                "attempts": refused.verdict.attempts,
                "due_at": refused.verdict.due_at,
                "awaits_parent": refused.verdict.awaits_parent,
                "waiting_since": refused.verdict.waiting_since,
                "code": refused.failure.code,
                "message": refused.failure.message,
            }
            for refused in outcomes
            if isinstance(refused, Refused)
        ],
    )
    session.cursor.executemany(
        statements.WRITE_PARENT_AGAIN,
        [
            {"kind": parent.kind, "key": parent.key, "now": now, "due_at": refused.verdict.due_at}
            for refused in outcomes
            if isinstance(refused, Refused) and refused.verdict.awaits_parent
            if (parent := find_parent(refused.entity, refused.failure.field)) is not None
        ],
    )
    # After all of the batch is recorded: a removal comes last in it, and what it cascaded to may
    # have been written before it in the same batch.
    for entity in applied:
        _touch_children(session, entity, now)


def _touch_children_of_returned(session: WriteSession, entity: PendingEntity, now: Instant) -> None:
    if entity.row is None or entity.ref.kind is Kind.MEMBERSHIP:
        return
    session.cursor.execute(
        statements.WRITE_CHILDREN_OF_RETURNED_TRIP_AGAIN
        if entity.ref.kind is Kind.TRIP
        else statements.WRITE_CHILDREN_OF_RETURNED_USER_AGAIN,
        {"kind": entity.ref.kind, "key": entity.ref.key, "now": now},
    )


def _touch_children(session: WriteSession, entity: PendingEntity, now: Instant) -> None:
    values = {"key": entity.ref.key, "now": now}
    is_gone = entity.row is None
    match entity.ref.kind:
        case Kind.TRIP:
            session.cursor.execute(
                statements.WRITE_CHILDREN_OF_TRIP_AGAIN
                if is_gone
                else statements.RELEASE_CHILDREN_OF_TRIP,
                values,
            )
        case Kind.USER:
            session.cursor.execute(
                statements.WRITE_CHILDREN_OF_USER_AGAIN
                if is_gone
                else statements.RELEASE_CHILDREN_OF_USER,
                values,
            )
        case Kind.MEMBERSHIP:
            pass
