"""Storing events in SQLite and moving their entities, one event after the other.

For PostgreSQL, migrations/receive.sql does the same.

While an entity is applied, Supabase holds its row: an equal row then costs no write. From any other
state it must be written, because an attempt may have succeeded without being recorded.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from app.domain.documents import write_row
from app.domain.entities import Kind, Priority, Version
from app.domain.events import Event
from app.domain.instants import Instant
from app.store.schema import OF_TRIP, OF_USER

HAS_ERASED: Final = "has_erased"
"""In `Connection.info`: whether the write-ahead log may contain erased data."""

_INSERT_EVENT: Final = """
INSERT INTO events
    (event_id, type, kind, key, occurred_at, is_removal, received_at, digest, data,
     trace, previous_sequence)
VALUES
    (:event_id, :type, :kind, :key, :occurred_at, :is_removal, :received_at, :digest, :data,
     :trace, (SELECT latest_event FROM entities WHERE kind = :kind AND key = :key))
ON CONFLICT (event_id) DO NOTHING
"""

_SELECT_DIGEST: Final = "SELECT digest FROM events WHERE event_id = :event_id"

# No row is empty. SQLite before 3.39 lacks IS NOT DISTINCT FROM.
_IS_UNCHANGED: Final = "e.state = 'applied' AND COALESCE(e.row, '') = COALESCE(excluded.row, '')"
# Then Supabase holds the first of the revocations in a row, or `revoked_at` tells when it happened.
# Neither is so for a pending tombstone that a repair made of a row that no event was about.
_IS_REVOKED_ALREADY: Final = """e.is_removal AND excluded.is_removal
    AND (e.revoked_at IS NOT NULL OR e.applied_sequence IS NOT NULL)"""
# Moves entities to a version, except those that have that one or a later one. The new row is due at
# once, regardless of the outcome of the old one.
_MOVE: Final = """
INSERT INTO entities AS e
    (kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
     revision, pending_since, due_at, attempts, awaits_parent, latest_event,
     revoked_at, revocation_received_at)
{source}
ON CONFLICT (kind, key) DO UPDATE SET
    user_id = excluded.user_id,
    occurred_at = excluded.occurred_at,
    is_removal = excluded.is_removal,
    sequence = excluded.sequence,
    row = excluded.row,
    state = CASE WHEN {is_unchanged} THEN 'applied' ELSE 'pending' END,
    applied_occurred_at = CASE WHEN {is_unchanged} THEN excluded.occurred_at
                               ELSE e.applied_occurred_at END,
    applied_sequence = CASE WHEN {is_unchanged} THEN excluded.sequence
                            ELSE e.applied_sequence END,
    priority = excluded.priority,
    revision = e.revision + 1,
    pending_since = CASE WHEN e.state = 'pending' THEN e.pending_since
                         ELSE excluded.pending_since END,
    due_at = 0,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    last_error_code = NULL,
    last_error = NULL,
    latest_event = excluded.latest_event,
    revoked_at = CASE WHEN {is_revoked_already} THEN e.revoked_at ELSE excluded.revoked_at END,
    revocation_received_at = CASE WHEN {is_revoked_already} THEN e.revocation_received_at
                                  ELSE excluded.revocation_received_at END,
    replay = CASE WHEN e.state = 'applied' THEN NULL ELSE e.replay END
WHERE (excluded.occurred_at, excluded.is_removal, excluded.sequence)
    > (e.occurred_at, e.is_removal, e.sequence)
"""
_CONDITIONS: Final = {"is_unchanged": _IS_UNCHANGED, "is_revoked_already": _IS_REVOKED_ALREADY}
_MOVE_ENTITY: Final = _MOVE.format(
    **_CONDITIONS,
    source="""VALUES
    (:kind, :key, :user_id, :occurred_at, :is_removal, :sequence, :row, 'pending', :priority,
     1, :received_at, 0, 0, FALSE, :event_sequence,
     :revoked_at, CASE WHEN :revoked_at IS NOT NULL THEN :received_at END)""",
)
# The memberships of a removed trip or user that are not newer than its removal.
_CASCADE: Final = """SELECT kind, key, user_id, :occurred_at, TRUE, :sequence, NULL, 'pending', 0,
       1, :received_at, 0, 0, FALSE, latest_event, :occurred_at, :received_at
FROM entities WHERE """
CASCADE_FROM_TRIP: Final = _MOVE.format(**_CONDITIONS, source=_CASCADE + OF_TRIP)
CASCADE_FROM_USER: Final = _MOVE.format(**_CONDITIONS, source=_CASCADE + OF_USER)

# For an event that came too late to move its entity.
_SET_LATEST_EVENT: Final = """
UPDATE entities SET latest_event = :event_sequence WHERE kind = :kind AND key = :key
"""

# A user or trip keeps its latest removal, even one that lost to a newer creation.
_SET_REMOVAL: Final = """
UPDATE entities SET removed_at = :occurred_at, removal_sequence = :sequence
WHERE kind = :kind AND key = :key
  AND (removed_at IS NULL OR (removed_at, removal_sequence) < (:occurred_at, :sequence))
"""

_SELECT_REMOVAL: Final = """
SELECT removed_at, TRUE, removal_sequence FROM entities
WHERE removed_at IS NOT NULL
  AND (kind = 'trip' AND key = :parent_trip
    OR kind = 'user' AND key = :parent_user)
ORDER BY removed_at DESC, removal_sequence DESC
LIMIT 1
"""

# Leaves nothing but the id of a removed user in their events.
_ERASE_EVENTS: Final = """
UPDATE events SET data = :data
WHERE kind = :kind AND key = :key AND data <> :data
  AND (occurred_at, is_removal, sequence) <= (:occurred_at, TRUE, :sequence)
"""

# Plain integers: for a subclass the driver first looks for an adapter.
_REVOCATION, _WRITE, _DELETE = map(int, (Priority.REVOCATION, Priority.WRITE, Priority.DELETE))


class Receipt(StrEnum):
    """The result of storing one event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Arrival:
    """The events of one request, in their order, and its ids if the sender gave any."""

    events: Sequence[Event]
    received_at: Instant
    trace: str | None = None


def store_arrivals(connection: Connection, arrivals: Iterable[Arrival]) -> list[list[Receipt]]:
    """Store the events of each arrival, in order, and return their receipts.

    The statements run on the driver's cursor: through SQLAlchemy each takes ten times as long.
    """
    cursor: Any = connection.connection.cursor()
    receipts: list[list[Receipt]] = []
    for arrival in arrivals:
        receipts.append([])
        for event in arrival.events:
            receipt, has_erased = _store_event(cursor, event, arrival)
            receipts[-1].append(receipt)
            if has_erased:
                connection.info[HAS_ERASED] = True
    cursor.close()
    return receipts


def _store_event(cursor: sqlite3.Cursor, event: Event, arrival: Arrival) -> tuple[Receipt, bool]:
    """Return the receipt, and whether data was erased."""
    is_membership = event.kind is Kind.MEMBERSHIP
    is_user = event.kind is Kind.USER
    # Plain str and int: for subclasses the driver first looks for an adapter.
    values: dict[str, Any] = event._asdict() | {
        "type": event.type.value,
        "kind": event.kind.value,
        "is_removal": int(event.is_removal),
        "received_at": arrival.received_at,
        "trace": arrival.trace,
        "revoked_at": event.occurred_at if is_membership and event.is_removal else None,
        "priority": _WRITE if not event.is_removal else _REVOCATION if is_membership else _DELETE,
    }
    if cursor.execute(_INSERT_EVENT, values).rowcount == 0:
        (digest,) = cursor.execute(_SELECT_DIGEST, values).fetchone()
        return (Receipt.DUPLICATE if digest == event.digest else Receipt.CONFLICT), False
    values["sequence"] = values["event_sequence"] = cursor.lastrowid
    version = Version(event.occurred_at, event.is_removal, values["sequence"])
    erased_until: tuple[Any, ...] | None = version if is_user and event.is_removal else None
    if is_membership or (is_user and not event.is_removal):
        parents = {
            "parent_trip": event.trip_id,
            "parent_user": event.key if is_user else event.user_id,
        }
        removal = cursor.execute(_SELECT_REMOVAL, parents).fetchone()
        if removal is not None and removal > version:
            if is_user:
                erased_until = removal
            else:
                # The membership falls with its trip or user.
                values |= _version_values(removal) | {"row": None, "priority": _REVOCATION}
                # It never gave access, so it is no revocation.
                values["revoked_at"] = None
    if cursor.execute(_MOVE_ENTITY, values).rowcount == 0:
        cursor.execute(_SET_LATEST_EVENT, values)
    if event.is_removal and not is_membership:
        cursor.execute(_SET_REMOVAL, values)
        cursor.execute(CASCADE_FROM_USER if is_user else CASCADE_FROM_TRIP, values)
    if erased_until is not None:
        data = write_row({"id": event.key})
        cursor.execute(_ERASE_EVENTS, values | _version_values(erased_until) | {"data": data})
    return Receipt.ACCEPTED, erased_until is not None


def _version_values(version: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(Version._fields, version, strict=True))
