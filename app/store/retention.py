"""Purging events and revocations: how long they are kept, and which stay however old they are."""

from typing import Any, Final

from sqlalchemy import Connection, text

from app.domain.history import EventCursor
from app.domain.instants import Instant, after, seconds_between

_DAY_SECONDS: Final = 86_400
_INTERVAL_SECONDS: Final = 3600

_SELECT_PURGE = text("SELECT cutoff, purged_at FROM purge WHERE id = 1")

_SELECT_OLDEST = text("""
SELECT COALESCE((SELECT MIN(received_at) FROM events), (SELECT MIN(applied_at) FROM revocations))
""")

_UPSERT_PURGE = text("""
INSERT INTO purge (id, cutoff, purged_at) VALUES (1, :cutoff, :now)
ON CONFLICT (id) DO UPDATE SET cutoff = excluded.cutoff, purged_at = excluded.purged_at
""")

# By time of receipt, not by sequence: events received while a clock was ahead must not delay the
# purge of those received after it was corrected.
_SELECT_CHUNK_END = text("""
SELECT received_at, sequence FROM (
    SELECT received_at, sequence FROM events
    WHERE (received_at, sequence) > (:after_received_at, :after_sequence)
      AND received_at < :before
    ORDER BY received_at, sequence
    LIMIT :limit
) AS chunk
ORDER BY received_at DESC, sequence DESC
LIMIT 1
""")

# A pending or dead entity keeps the event of its desired state, its latest event, and those that
# link the two. The subquery is scalar so that PostgreSQL finds entities by key: it might join an
# EXISTS to all entities.
_DELETE_CHUNK = text("""
DELETE FROM events
WHERE (received_at, sequence) > (:after_received_at, :after_sequence)
  AND (received_at, sequence) <= (:end_received_at, :end_sequence)
  AND NOT COALESCE((
    SELECT entities.state <> 'applied'
       AND (events.sequence >= entities.sequence OR events.sequence = entities.latest_event)
    FROM entities
    WHERE entities.kind = events.kind AND entities.key = events.key), FALSE)
""")

_DELETE_REVOCATIONS = text("""
DELETE FROM revocations WHERE (key, occurred_at) IN (
    SELECT key, occurred_at FROM revocations
    WHERE applied_at < :before
    ORDER BY applied_at
    LIMIT :limit)
""")

_START: Final = EventCursor(Instant(-(2**63)), 0)


def advance_cutoff(
    connection: Connection, now: Instant, retention_seconds: float
) -> Instant | None:
    """Advance and return the stored cutoff: events received earlier may be purged.

    It advances by at most a day per purge, so a clock that is far ahead costs a day of history, not
    all of it. A first purge begins at the oldest event.

    Returns:
        None if there is nothing to purge, or the latest purge began less than an hour ago. A time
        more than an hour in the future was set by a clock that has been corrected; it does not
        count.
    """
    oldest: int | None = connection.execute(_SELECT_OLDEST).scalar_one()
    if oldest is None:
        return None
    stored: Any = connection.execute(_SELECT_PURGE).one_or_none()
    if stored is not None and abs(seconds_between(stored.purged_at, now)) < _INTERVAL_SECONDS:
        return None
    base = Instant(oldest if stored is None else stored.cutoff)
    cutoff = min(after(now, -retention_seconds), after(base, _DAY_SECONDS))
    # A clock that starts in 1970 must not move the cutoff back by decades.
    cutoff = max(cutoff, min(base, after(Instant(oldest), -_DAY_SECONDS)))
    connection.execute(_UPSERT_PURGE, {"cutoff": cutoff, "now": now})
    return cutoff


def purge_chunk(
    connection: Connection, before: Instant, limit: int, *, resume_after: EventCursor | None = None
) -> tuple[int, EventCursor | None]:
    """Consider the next `limit` events received before an instant; delete those not needed.

    Entities stay: they are the desired state.

    Returns:
        How many events were deleted, and the position of the last one that was considered; None if
        none was left.
    """
    start = resume_after or _START
    values = {"after_received_at": start.received_at, "after_sequence": start.sequence}
    end = connection.execute(
        _SELECT_CHUNK_END, values | {"before": before, "limit": limit}
    ).one_or_none()
    if end is None:
        return 0, None
    values |= {"end_received_at": end.received_at, "end_sequence": end.sequence}
    deleted = connection.execute(_DELETE_CHUNK, values).rowcount
    return deleted, EventCursor(end.received_at, end.sequence)


def purge_revocations(connection: Connection, before: Instant, limit: int) -> int:
    """Delete up to `limit` revocations applied before an instant; return their number."""
    return connection.execute(_DELETE_REVOCATIONS, {"before": before, "limit": limit}).rowcount
