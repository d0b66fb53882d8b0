"""Inserting the events and entities of a run into SQLite.

Plain SQL on the driver's cursor: building and compiling a statement in SQLAlchemy Core costs ten
times as much as running it here.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from app.domain.entities import Version
from app.domain.events import EventId
from app.store.driver_cursor import Cursor

Values = dict[str, Any]
"""The parameters of one event's statements, by name."""

_INSERT_EVENT: Final = """
INSERT INTO events
    (event_id, type, kind, key, occurred_at, is_removal, received_at, digest, data,
     previous_sequence)
VALUES
    (:event_id, :type, :kind, :key, :occurred_at, :is_removal, :received_at, :digest, :data,
     (SELECT latest_event FROM entities WHERE kind = :kind AND key = :key))
ON CONFLICT (event_id) DO NOTHING
"""

_SELECT_LAST_SEQUENCE: Final = """
SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'events'
"""

_SELECT_NEW: Final = "SELECT event_id, sequence FROM events WHERE sequence > :last"

# Moves an entity to a version, unless it has that one or a later one. The new row is due at once,
# regardless of the outcome of the old one.
_UPSERT_ENTITY: Final = """
INSERT INTO entities AS e
    (kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
     revision, pending_since, due_at, attempts, awaits_parent, latest_event)
VALUES
    (:kind, :key, :user_id, :occurred_at, :is_removal, :sequence, :row, 'pending', :priority,
     1, :received_at, 0, 0, FALSE, :event_sequence)
ON CONFLICT (kind, key) DO UPDATE SET
    user_id = excluded.user_id,
    occurred_at = excluded.occurred_at,
    is_removal = excluded.is_removal,
    sequence = excluded.sequence,
    row = excluded.row,
    state = CASE WHEN e.state = 'applied' AND e.row IS excluded.row
                 THEN 'applied' ELSE 'pending' END,
    applied_occurred_at = CASE WHEN e.state = 'applied' AND e.row IS excluded.row
                               THEN excluded.occurred_at ELSE e.applied_occurred_at END,
    applied_sequence = CASE WHEN e.state = 'applied' AND e.row IS excluded.row
                            THEN excluded.sequence ELSE e.applied_sequence END,
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
    replay = CASE WHEN e.state = 'applied' THEN NULL ELSE e.replay END
WHERE (excluded.occurred_at, excluded.is_removal, excluded.sequence)
    > (e.occurred_at, e.is_removal, e.sequence)
"""

_SELECT_DIGESTS: Final = """
SELECT event_id, digest FROM events WHERE event_id IN (SELECT value FROM json_each(:event_ids))
"""

_SELECT_REMOVALS: Final = """
SELECT kind, key, removed_at, removal_sequence FROM entities
WHERE removed_at IS NOT NULL
  AND (kind = 'trip' AND key IN (SELECT value FROM json_each(:trips))
    OR kind = 'user' AND key IN (SELECT value FROM json_each(:users)))
"""


def insert_events(cursor: Cursor, run: Sequence[Values]) -> dict[EventId, int]:
    """Insert the events that are not stored yet and return their sequences."""
    (last,) = cursor.execute(_SELECT_LAST_SEQUENCE).fetchone()
    if cursor.executemany(_INSERT_EVENT, run).rowcount == len(run):
        return {values["event_id"]: sequence for sequence, values in enumerate(run, last + 1)}
    return dict(cursor.execute(_SELECT_NEW, {"last": last}).fetchall())


def upsert_entities(cursor: Cursor, run: Sequence[Values]) -> int:
    """Move entities to newer versions and return how many moved."""
    return cursor.executemany(_UPSERT_ENTITY, run).rowcount


def read_digests(cursor: Cursor, event_ids: Collection[str]) -> dict[EventId, bytes]:
    """Read the digests of stored events."""
    values = {"event_ids": json.dumps(list(event_ids))}
    return dict(cursor.execute(_SELECT_DIGESTS, values).fetchall())


def read_removals(
    cursor: Cursor, *, trips: Collection[str], users: Collection[str]
) -> dict[tuple[str, str], Version]:
    """Read the latest removals of the trips and users that were ever removed, by kind and key."""
    if not trips and not users:
        return {}
    values = {"trips": json.dumps(list(trips)), "users": json.dumps(list(users))}
    return {
        (kind, key): Version(removed_at, is_removal=True, sequence=sequence)
        for kind, key, removed_at, sequence in cursor.execute(_SELECT_REMOVALS, values).fetchall()
    }
