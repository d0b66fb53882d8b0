"""Storing events and moving their entities, inside one transaction of the group."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from app.domain.documents import write_row
from app.domain.entities import Kind, Priority, Version
from app.domain.events import Event
from app.domain.instants import Instant
from app.store import statements
from app.store.group_commit import WriteSession


class Receipt(StrEnum):
    """What the store says to one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


def store_events(
    session: WriteSession, events: Sequence[Event], received_at: Instant
) -> list[Receipt]:
    """Store events in the order given and give the receipt of each."""
    return [_store_event(session, event, received_at) for event in events]


def _store_event(session: WriteSession, event: Event, received_at: Instant) -> Receipt:
    cursor = session.cursor
    values: dict[str, Any] = {
        "event_id": event.event_id,
        "type": event.type,
        "kind": event.kind,
        "key": event.key,
        "trip_id": event.trip_id,
        "user_id": event.user_id,
        "occurred_at": event.occurred_at,
        "is_removal": event.is_removal,
        "received_at": received_at,
        "digest": event.digest,
        "data": event.data,
        "row": event.row,
        "priority": Priority.ACCESS_TAKEN if event.is_removal else Priority.CHANGE,
    }
    inserted = cursor.execute(statements.INSERT_EVENT, values).fetchone()
    if inserted is None:
        (digest,) = cursor.execute(statements.SELECT_DIGEST, values).fetchone()
        return Receipt.DUPLICATE if digest == event.digest else Receipt.CONFLICT
    values["sequence"] = values["event_sequence"] = inserted[0]
    match event.kind:
        case Kind.MEMBERSHIP:
            _move_membership(session, values)
        case Kind.USER | Kind.TRIP:
            _move_entity(session, values)
            if event.row is None:
                _remove_parent(session, event.kind, values)
            elif event.kind is Kind.USER:
                _erase_if_removed(session, values)
    return Receipt.ACCEPTED


def _move_membership(session: WriteSession, values: dict[str, Any]) -> None:
    # A membership stands only if it is newer than the latest removals of its trip and its user.
    removal = _read_removal(session, statements.SELECT_PARENTS_REMOVAL, values)
    if removal is not None and removal > _version_in(values):
        values |= removal._asdict() | {"row": None, "priority": Priority.ACCESS_TAKEN}
    _move_entity(session, values)


def _move_entity(session: WriteSession, values: dict[str, Any]) -> None:
    if session.cursor.execute(statements.UPSERT_ENTITY, values).rowcount == 0:
        session.cursor.execute(statements.NOTE_LATEST_EVENT, values)


def _remove_parent(session: WriteSession, kind: Kind, values: dict[str, Any]) -> None:
    session.cursor.execute(statements.REMEMBER_REMOVAL, values)
    if kind is Kind.TRIP:
        session.cursor.execute(statements.CASCADE_FROM_TRIP, values)
    else:
        session.cursor.execute(statements.CASCADE_FROM_USER, values)
        _erase_events(session, values)


def _erase_if_removed(session: WriteSession, values: dict[str, Any]) -> None:
    removal = _read_removal(session, statements.SELECT_OWN_REMOVAL, values)
    if removal is not None and removal > _version_in(values):
        _erase_events(session, values | removal._asdict())


def _erase_events(session: WriteSession, values: dict[str, Any]) -> None:
    erased = {"data": write_row({"id": values["key"]})}
    session.cursor.execute(statements.ERASE_EVENTS, values | erased)
    session.request_truncation()


def _read_removal(session: WriteSession, statement: str, values: dict[str, Any]) -> Version | None:
    found = session.cursor.execute(statement, values).fetchone()
    return None if found is None else Version(found[0], is_removal=True, sequence=found[1])


def _version_in(values: dict[str, Any]) -> Version:
    return Version(values["occurred_at"], values["is_removal"], values["sequence"])
