"""Auth accounts that are to be closed, because their users were removed.

A closure is stored in the transaction that records the removal in Supabase, and deleted when the
account is closed or the user is desired again.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from app.domain.instants import Instant, after
from app.domain.retry import RETRY_AFTER_LIMIT_SECONDS

# For a removed user: only if a user.deleted removed it. A repair makes tombstones without one for
# rows that no event was ever about; those are no reason to close an account.
REQUEST_CLOSURES: Final = """
INSERT INTO account_closures (user_id, requested_at, due_at, attempts)
SELECT key, :now, 0, 0 FROM entities
WHERE kind = :kind AND key = :key AND state = 'applied' AND row IS NULL AND removed_at IS NOT NULL
ON CONFLICT (user_id) DO UPDATE
SET requested_at = excluded.requested_at, due_at = 0, attempts = 0, code = NULL, message = NULL
"""

# Those that have failed come last: however many there are, they delay no other. One due later than
# any wait lasts was postponed by a clock that ran ahead.
_SELECT_DUE: Final = text("""
SELECT closure.user_id, closure.requested_at, closure.attempts, entities.row IS NOT NULL
FROM account_closures AS closure
LEFT JOIN entities ON entities.kind = 'user' AND entities.key = closure.user_id
WHERE closure.due_at <= :now OR closure.due_at > :latest
ORDER BY closure.attempts, closure.due_at, closure.user_id
LIMIT 1
""")

# Not if it was requested again meanwhile.
_DELETE: Final = text("""
DELETE FROM account_closures WHERE user_id = :user_id AND requested_at = :requested_at
""")
_SELECT_FAILING: Final = text("SELECT 1 FROM account_closures WHERE attempts > 0 LIMIT 1")

_POSTPONE: Final = text("""
UPDATE account_closures
SET attempts = attempts + 1, due_at = :due_at, code = :code, message = :message
WHERE user_id = :user_id AND requested_at = :requested_at
""")

# A time in the future was stored by a clock that ran ahead.
_IS_OVERDUE: Final = "attempts > 0 AND (requested_at <= :before OR requested_at > :after)"
_MEASURE: Final = text(f"""
SELECT COUNT(*), COALESCE(SUM(CASE WHEN {_IS_OVERDUE} THEN 1 ELSE 0 END), 0)
FROM account_closures
""")  # noqa: S608 - the condition is the constant above
_SELECT_ERROR: Final = text(f"""
SELECT code, message FROM account_closures WHERE {_IS_OVERDUE} ORDER BY requested_at LIMIT 1
""")  # noqa: S608

OVERDUE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Closure:
    """An account that is to be closed.

    Attributes:
        attempts: failures so far.
        is_desired: whether the user is desired again.
    """

    user_id: str
    requested_at: Instant
    attempts: int
    is_desired: bool


@dataclass(frozen=True, slots=True)
class ClosureBacklog:
    """The accounts that are to be closed.

    Attributes:
        pending: all of them.
        overdue: those that have failed, and were requested a minute ago or earlier.
        error: code and message of the oldest overdue one.
    """

    pending: int = 0
    overdue: int = 0
    error: str | None = None


def find_due_closure(connection: Connection, now: Instant) -> Closure | None:
    """Find the next account to close; None if none is due."""
    values = {"now": now, "latest": after(now, RETRY_AFTER_LIMIT_SECONDS)}
    found = connection.execute(_SELECT_DUE, values).one_or_none()
    if found is None:
        return None
    user_id, requested_at, attempts, is_desired = found
    return Closure(user_id, Instant(requested_at), attempts, bool(is_desired))


def finish_closure(connection: Connection, closure: Closure) -> bool:
    """Delete a closure that is done, and tell whether others are failing."""
    values = {"user_id": closure.user_id, "requested_at": closure.requested_at}
    connection.execute(_DELETE, values)
    return connection.execute(_SELECT_FAILING).one_or_none() is not None


def postpone_closure(
    connection: Connection, closure: Closure, due_at: Instant, code: str, message: str
) -> None:
    """Record a failed attempt."""
    values = {"user_id": closure.user_id, "requested_at": closure.requested_at}
    connection.execute(_POSTPONE, values | {"due_at": due_at, "code": code, "message": message})


def measure_closures(connection: Connection, now: Instant) -> ClosureBacklog:
    """Count the accounts that are to be closed."""
    limits = {"before": after(now, -OVERDUE_SECONDS), "after": after(now, OVERDUE_SECONDS)}
    pending, overdue = connection.execute(_MEASURE, limits).one()
    if not overdue:
        return ClosureBacklog(pending)
    code, message = connection.execute(_SELECT_ERROR, limits).one()
    return ClosureBacklog(pending, int(overdue), f"{code}, {message}")
