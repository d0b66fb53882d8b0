"""Storing events in SQLite and moving their entities, inside one transaction of a group.

Events are stored in runs: as many as cannot affect each other, with one statement for all of them.
One by one, each event costs half as much again. For PostgreSQL, migrations/receive.sql does the
same.

While an entity is applied, Supabase holds its row: an equal row then costs no write. From any other
state it must be written, because an attempt may have succeeded without being recorded.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Final

from app.domain.documents import write_row
from app.domain.entities import Kind, Priority, Version
from app.domain.events import Event
from app.domain.instants import Instant
from app.store.schema import OF_TRIP, OF_USER
from app.store.sqlite_inserts import (
    Values,
    insert_events,
    read_digests,
    read_removals,
    upsert_entities,
)
from app.store.write_session import WriteSession

# For events that came too late to move their entities.
_SET_LATEST_EVENT: Final = """
UPDATE entities SET latest_event = :event_sequence WHERE kind = :kind AND key = :key
"""

# A user or trip keeps its latest removal, even one that lost to a newer creation.
_SET_REMOVAL: Final = """
UPDATE entities SET removed_at = :occurred_at, removal_sequence = :sequence
WHERE kind = :kind AND key = :key
  AND (removed_at IS NULL OR (removed_at, removal_sequence) < (:occurred_at, :sequence))
"""

# Removes the memberships of a removed trip or user that are not newer than its removal.
_CASCADE: Final = """
UPDATE entities SET
    occurred_at = :occurred_at,
    is_removal = TRUE,
    sequence = :sequence,
    row = NULL,
    state = CASE WHEN state = 'applied' AND row IS NULL THEN 'applied' ELSE 'pending' END,
    applied_occurred_at = CASE WHEN state = 'applied' AND row IS NULL
                               THEN :occurred_at ELSE applied_occurred_at END,
    applied_sequence = CASE WHEN state = 'applied' AND row IS NULL
                            THEN :sequence ELSE applied_sequence END,
    priority = 0,
    revision = revision + 1,
    pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE :received_at END,
    due_at = 0,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    last_error_code = NULL,
    last_error = NULL,
    replay = CASE WHEN state = 'applied' THEN NULL ELSE replay END
WHERE {of_parent}
  AND (occurred_at, is_removal, sequence) < (:occurred_at, TRUE, :sequence)
"""
CASCADE_FROM_TRIP: Final = _CASCADE.format(of_parent=OF_TRIP)
CASCADE_FROM_USER: Final = _CASCADE.format(of_parent=OF_USER)

# Leaves nothing but the id of a removed user in their events.
_ERASE_EVENTS: Final = """
UPDATE events SET data = :data
WHERE kind = :kind AND key = :key AND data <> :data
  AND (occurred_at, is_removal, sequence) <= (:occurred_at, TRUE, :sequence)
"""

_NEVER: Final = Version(Instant(-(2**63)), is_removal=False, sequence=0)
# Plain integers, as in `_to_values`.
_REVOCATION: Final = int(Priority.REVOCATION)
_WRITE: Final = int(Priority.WRITE)
_DELETE: Final = int(Priority.DELETE)


class Receipt(StrEnum):
    """The result of storing one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The events of one request, in their order."""

    events: Sequence[Event]
    received_at: Instant


def store_arrivals(session: WriteSession, arrivals: Iterable[Arrival]) -> list[list[Receipt]]:
    """Store the events of each arrival, in order, and return their receipts."""
    arrivals = list(arrivals)
    receipts = chain.from_iterable(_store_run(session, run) for run in _cut_into_runs(arrivals))
    return [list(islice(receipts, len(arrival.events))) for arrival in arrivals]


def _cut_into_runs(arrivals: Sequence[Arrival]) -> Iterator[list[Values]]:
    """Yield runs of events that cannot affect each other.

    A run has no event and no key twice, and ends with any removal that cascades.
    """
    run: list[Values] = []
    seen: set[str] = set()
    for arrival in arrivals:
        for event in arrival.events:
            if event.key in seen or event.event_id in seen:
                yield run
                run, seen = [], set()
            run.append(_to_values(event, arrival.received_at))
            seen.add(event.key)
            seen.add(event.event_id)
            if event.is_removal and event.kind is not Kind.MEMBERSHIP:
                yield run
                run, seen = [], set()
    if run:
        yield run


def _to_values(event: Event, received_at: Instant) -> Values:
    # Plain str and int: for subclasses the driver first looks for an adapter, a tenth of the cost
    # of storing an event.
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


def _choose_priority(event: Event) -> int:
    if not event.is_removal:
        return _WRITE
    return _REVOCATION if event.kind is Kind.MEMBERSHIP else _DELETE


def _store_run(session: WriteSession, run: list[Values]) -> list[Receipt]:
    sequences = insert_events(session.cursor, run)
    new: list[Values] = []
    for values in run:
        if values["event_id"] in sequences:
            values["sequence"] = values["event_sequence"] = sequences[values["event_id"]]
            new.append(values)
    if new:
        _move_entities(session, new)
    if len(new) == len(run):
        return [Receipt.ACCEPTED] * len(run)
    digests = read_digests(session.cursor, [values["event_id"] for values in run])
    return [
        Receipt.ACCEPTED
        if values["event_id"] in sequences
        else Receipt.DUPLICATE
        if digests[values["event_id"]] == values["digest"]
        else Receipt.CONFLICT
        for values in run
    ]


def _move_entities(session: WriteSession, new: list[Values]) -> None:
    erased = _apply_tombstones(session, new)
    if upsert_entities(session.cursor, new) < len(new):
        # Some came too late to move their entities. For the others this changes nothing.
        session.cursor.executemany(_SET_LATEST_EVENT, new)
    for values in erased:
        _erase_events(session, values)
    last = new[-1]
    if last["is_removal"] and last["kind"] != Kind.MEMBERSHIP:
        _remove_parent(session, last)


def _apply_tombstones(session: WriteSession, run: list[Values]) -> list[Values]:
    """Turn memberships older than a removal of their trip or user into removals.

    Returns:
        The users whose rows are older than their latest removal, with the version of that removal:
        their events are to be erased.
    """
    memberships = [values for values in run if values["kind"] == Kind.MEMBERSHIP]
    users = [values for values in run if values["kind"] == Kind.USER]
    removals = read_removals(
        session.cursor,
        trips={each["trip_id"] for each in memberships},
        users={each["user_id"] for each in memberships} | {each["key"] for each in users},
    )
    for values in memberships:
        removal = max(
            removals.get((Kind.TRIP, values["trip_id"]), _NEVER),
            removals.get((Kind.USER, values["user_id"]), _NEVER),
        )
        if removal > _version_of(values):
            values |= _version_values(removal) | {"row": None, "priority": _REVOCATION}
    return [
        values | _version_values(removal)
        for values in users
        if not values["is_removal"]
        and (removal := removals.get((Kind.USER, values["key"]), _NEVER)) > _version_of(values)
    ]


def _remove_parent(session: WriteSession, values: Values) -> None:
    session.cursor.execute(_SET_REMOVAL, values)
    if values["kind"] == Kind.TRIP:
        session.cursor.execute(CASCADE_FROM_TRIP, values)
    else:
        session.cursor.execute(CASCADE_FROM_USER, values)
        _erase_events(session, values)


def _erase_events(session: WriteSession, values: Values) -> None:
    erased = {"data": write_row({"id": values["key"]})}
    session.cursor.execute(_ERASE_EVENTS, values | erased)
    session.request_truncation()


def _version_values(version: Version) -> Values:
    return {
        "occurred_at": version.occurred_at,
        "is_removal": int(version.is_removal),
        "sequence": version.sequence,
    }


def _version_of(values: Values) -> Version:
    return Version(values["occurred_at"], bool(values["is_removal"]), values["sequence"])
