"""Purging events: how far back they are kept, and which ones stay however old they are."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text

from app.domain.history import EventCursor
from app.domain.instants import Instant, after, seconds_between
from app.store.write_session import WriteSession

_DAY_SECONDS: Final = 86_400
_INTERVAL_SECONDS: Final = 3600

_SELECT_PURGE = text("SELECT cutoff, purged_at FROM purge WHERE id = 1")

_SELECT_OLDEST = text("SELECT MIN(received_at) FROM events")

_UPSERT_PURGE = text("""
INSERT INTO purge (id, cutoff, purged_at) VALUES (1, :cutoff, :now)
ON CONFLICT (id) DO UPDATE SET cutoff = excluded.cutoff, purged_at = excluded.purged_at
""")

# By time of receipt, not by sequence: events received while a clock was ahead must not hold up
# those received after it was corrected.
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

# An entity that is pending or dead keeps the event that it stands at, its latest one, and those
# between the two, which link them. The subquery is a scalar one so that PostgreSQL looks entities
# up by key: it might join an EXISTS to all entities.
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

_START: Final = EventCursor(Instant(-(2**63)), 0)


@dataclass(frozen=True, slots=True)
class PurgedChunk:
    """What became of some of the oldest events.

    Attributes:
        events: how many were removed.
        end: the position of the last one considered; None where none was left.
    """

    events: int
    end: EventCursor | None


def advance_cutoff(
    session: WriteSession, *, now: Instant, retention_seconds: float
) -> Instant | None:
    """Store how far to purge now and give it: events received earlier may go.

    The cutoff advances by at most a day a purge. So a clock that is far ahead costs a day of
    history, not all of it, and a first purge begins at the oldest event.

    Returns:
        None where there is nothing to purge: no event is stored, or the last purge is less than an
        hour away, in either direction: one that was stamped by a clock since corrected counts not.
    """
    oldest: int | None = session.connection.execute(_SELECT_OLDEST).scalar_one()
    if oldest is None:
        return None
    stored: Any = session.connection.execute(_SELECT_PURGE).one_or_none()
    if stored is not None and abs(seconds_between(stored.purged_at, now)) < _INTERVAL_SECONDS:
        return None
    base = Instant(oldest if stored is None else stored.cutoff)
    cutoff = min(after(now, -retention_seconds), after(base, _DAY_SECONDS))
    # A clock that starts in 1970 must not move it back by decades, to be made up day by day.
    cutoff = max(cutoff, min(base, after(Instant(oldest), -_DAY_SECONDS)))
    session.connection.execute(_UPSERT_PURGE, {"cutoff": cutoff, "now": now})
    return cutoff


def purge_chunk(
    session: WriteSession, *, before: Instant, limit: int, resume_after: EventCursor | None
) -> PurgedChunk:
    """Consider the next `limit` events received before an instant; remove those not needed."""
    start = resume_after or _START
    values = {"after_received_at": start.received_at, "after_sequence": start.sequence}
    end = session.connection.execute(
        _SELECT_CHUNK_END, values | {"before": before, "limit": limit}
    ).one_or_none()
    if end is None:
        return PurgedChunk(0, None)
    position = EventCursor(Instant(end.received_at), end.sequence)
    values |= {"end_received_at": position.received_at, "end_sequence": position.sequence}
    return PurgedChunk(session.connection.execute(_DELETE_CHUNK, values).rowcount, position)
