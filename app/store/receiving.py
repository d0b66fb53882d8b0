"""Storing events and moving their entities, inside one transaction of the group.

Events go in by the run, a statement for all of them, as far as they cannot depend on each other:
one by one, an event costs half as much again.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any, Final

from app.domain.documents import write_row
from app.domain.entities import Kind, Priority, Version
from app.domain.events import Event
from app.domain.instants import Instant
from app.store import statements
from app.store.write_session import WriteSession


class Receipt(StrEnum):
    """What the store says to one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Events to be stored together, in their order.

    Attributes:
        events: of one request.
        received_at: when it came.
    """

    events: Sequence[Event]
    received_at: Instant


_Values = dict[str, Any]
"""What the statements of one event are run with."""


def store_arrivals(session: WriteSession, arrivals: Iterable[Arrival]) -> list[list[Receipt]]:
    """Store the events of each arrival, one arrival after the other, and give their receipts."""
    arrivals = list(arrivals)
    receipts = chain.from_iterable(_store_run(session, run) for run in _cut_into_runs(arrivals))
    return [list(islice(receipts, len(arrival.events))) for arrival in arrivals]


def _cut_into_runs(arrivals: Sequence[Arrival]) -> Iterator[list[_Values]]:
    """Give events together none of which could change what becomes of another.

    A run has no event and no key twice, and ends with a removal that takes others along.
    """
    run: list[_Values] = []
    seen: set[str] = set()
    for arrival in arrivals:
        for event in arrival.events:
            if event.key in seen or event.event_id in seen:
                yield run
                run, seen = [], set()
            run.append(_write_values(event, arrival.received_at))
            seen.add(event.key)
            seen.add(event.event_id)
            if event.is_removal and event.kind is not Kind.MEMBERSHIP:
                yield run
                run, seen = [], set()
    if run:
        yield run


def _write_values(event: Event, received_at: Instant) -> _Values:
    # Plain str and int: of anything else the driver asks first how it wants to be written, which
    # took a tenth of the time of storing an event.
    return {
        "event_id": event.event_id,
        "type": event.type.value,
        "kind": event.kind.value,
        "key": event.key,
        "trip_id": event.trip_id,
        "user_id": event.user_id,
        "occurred_at": event.occurred_at,
        "is_removal": int(event.is_removal),
        "received_at": received_at,
        "digest": event.digest,
        "data": event.data,
        "row": event.row,
        "priority": _choose_priority(event),
    }


# Plain int, as above.
_REVOCATION: Final = int(Priority.REVOCATION)
_WRITE: Final = int(Priority.WRITE)
_DELETE: Final = int(Priority.DELETE)


def _choose_priority(event: Event) -> int:
    if not event.is_removal:
        return _WRITE
    return _REVOCATION if event.kind is Kind.MEMBERSHIP else _DELETE


def _store_run(session: WriteSession, run: list[_Values]) -> list[Receipt]:
    new, receipts = _insert_events(session, run)
    if not new:
        return receipts
    erased = _obey_removals(session, new)
    if session.cursor.executemany(statements.UPSERT_ENTITY, new).rowcount < len(new):
        # Some came too late to move their entities. For the others this repeats what stands.
        session.cursor.executemany(statements.NOTE_LATEST_EVENT, new)
    for values in erased:
        _erase_events(session, values)
    last = new[-1]
    if last["is_removal"] and last["kind"] != Kind.MEMBERSHIP:
        _remove_parent(session, last)
    return receipts


def _insert_events(
    session: WriteSession, run: list[_Values]
) -> tuple[list[_Values], list[Receipt]]:
    """Insert those that are new, and give them with their sequences, and the receipt of each."""
    cursor = session.cursor
    (last,) = cursor.execute(statements.SELECT_LAST_SEQUENCE).fetchone()
    if cursor.executemany(statements.INSERT_EVENT, run).rowcount == len(run):
        for sequence, values in enumerate(run, last + 1):
            values["sequence"] = values["event_sequence"] = sequence
        return run, [Receipt.ACCEPTED] * len(run)
    new: list[_Values] = []
    receipts: list[Receipt] = []
    for values in run:
        sequence, digest = cursor.execute(statements.SELECT_STORED, values).fetchone()
        if sequence > last:
            values["sequence"] = values["event_sequence"] = sequence
            new.append(values)
            receipts.append(Receipt.ACCEPTED)
        else:
            is_same = digest == values["digest"]
            receipts.append(Receipt.DUPLICATE if is_same else Receipt.CONFLICT)
    return new, receipts


def _obey_removals(session: WriteSession, run: list[_Values]) -> list[_Values]:
    """Give memberships the version of a removal of their trip or user that is not older.

    Returns:
        What is to be erased of users, who may come back in a row that is older than their removal.
    """
    removals = _read_removals(session, run)
    erased: list[_Values] = []
    if not removals:
        return erased
    for values in run:
        if values["kind"] == Kind.MEMBERSHIP:
            removal = max(
                removals.get((Kind.TRIP, values["trip_id"]), _NEVER),
                removals.get((Kind.USER, values["user_id"]), _NEVER),
            )
            if removal > _version_in(values):
                values |= removal._asdict() | {"row": None, "priority": _REVOCATION}
        elif values["kind"] == Kind.USER and not values["is_removal"]:
            removal = removals.get((Kind.USER, values["key"]), _NEVER)
            if removal > _version_in(values):
                erased.append(values | removal._asdict())
    return erased


_NEVER = Version(Instant(-(2**63)), is_removal=False, sequence=0)


def _read_removals(session: WriteSession, run: list[_Values]) -> dict[tuple[str, str], Version]:
    memberships = [values for values in run if values["kind"] == Kind.MEMBERSHIP]
    trips = {values["trip_id"] for values in memberships}
    users = {values["user_id"] for values in memberships}
    users |= {values["key"] for values in run if values["kind"] == Kind.USER}
    return {
        (kind, key): Version(removed_at, is_removal=True, sequence=sequence)
        for kind, keys in ((Kind.TRIP, trips), (Kind.USER, users))
        if keys
        for key, removed_at, sequence in session.cursor.execute(
            statements.SELECT_REMOVALS, {"kind": kind.value, "keys": json.dumps(list(keys))}
        ).fetchall()
    }


def _remove_parent(session: WriteSession, values: _Values) -> None:
    session.cursor.execute(statements.REMEMBER_REMOVAL, values)
    if values["kind"] == Kind.TRIP:
        session.cursor.execute(statements.CASCADE_FROM_TRIP, values)
    else:
        session.cursor.execute(statements.CASCADE_FROM_USER, values)
        _erase_events(session, values)


def _erase_events(session: WriteSession, values: _Values) -> None:
    erased = {"data": write_row({"id": values["key"]})}
    session.cursor.execute(statements.ERASE_EVENTS, values | erased)
    session.request_truncation()


def _version_in(values: _Values) -> Version:
    return Version(values["occurred_at"], bool(values["is_removal"]), values["sequence"])
