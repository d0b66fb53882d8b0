"""Repairing what a check for drift has found: entities become pending, and are written again."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from app.domain.drift import Difference, Effect, Origin
from app.domain.entities import Kind, Priority, split_membership_key
from app.domain.instants import Instant

# Applied entities only: any other is about to be written anyway. A repair that ends no leak waits
# with the replays.
_QUEUE_KNOWN: Final = text("""
UPDATE entities SET
    state = 'pending',
    priority = CASE WHEN NOT is_removal THEN :write_priority
                    WHEN kind = 'membership' THEN 0 ELSE 2 END,
    revision = revision + 1, pending_since = :now, due_at = 0, attempts = 0,
    awaits_parent = FALSE, waiting_since = NULL, last_error_code = NULL, last_error = NULL,
    replay = NULL
WHERE kind = :kind AND key = :key AND state = 'applied'
""")

# A tombstone for a row that no event was ever about. It is older than any event, so any event wins.
_QUEUE_UNKNOWN: Final = text("""
INSERT INTO entities
    (kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
     revision, pending_since, due_at, attempts, awaits_parent)
VALUES
    (:kind, :key, :user_id, 0, TRUE, 0, NULL, 'pending', :removal_priority,
     1, :now, 0, 0, FALSE)
ON CONFLICT (kind, key) DO NOTHING
""")


def queue_repairs(connection: Connection, found: Sequence[Difference], now: Instant) -> int:
    """Make entities pending so that Supabase gets their desired state; return how many.

    Entities that have changed since the check are skipped: they are pending already.
    """
    known = [each for each in found if each.origin is not Origin.UNKNOWN_TO_US]
    unknown = [each for each in found if each.origin is Origin.UNKNOWN_TO_US]
    steps = (
        (_QUEUE_KNOWN, [_to_known_values(each, now) for each in known]),
        (_QUEUE_UNKNOWN, [_to_unknown_values(each, now) for each in unknown]),
    )
    return sum(
        connection.execute(statement, values).rowcount for statement, values in steps if values
    )


def _to_known_values(difference: Difference, now: Instant) -> dict[str, Any]:
    is_leak = difference.effect is Effect.LEAKS
    return {
        "kind": difference.ref.kind.value,
        "key": difference.ref.key,
        "now": now,
        "write_priority": int(Priority.WRITE if is_leak else Priority.REPLAYED_WRITE),
    }


def _to_unknown_values(difference: Difference, now: Instant) -> dict[str, Any]:
    kind, key = difference.ref
    is_membership = kind is Kind.MEMBERSHIP
    return {
        "kind": kind.value,
        "key": key,
        "user_id": split_membership_key(key)[1] if is_membership else None,
        "now": now,
        "removal_priority": int(Priority.REVOCATION if is_membership else Priority.DELETE),
    }
