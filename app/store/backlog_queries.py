"""Measuring the backlog."""

from sqlalchemy import Connection, case, func, or_, select

from app.domain.entities import EntityKey, EntityRef, EntityState, Kind, Priority
from app.domain.history import Backlog, TroubledEntity
from app.domain.instants import Instant, after
from app.store.schema import entities

# An entity that has been busy for longer is reported; so many are named.
_TROUBLED_SECONDS = 60.0
_TROUBLED_NAMED = 3


def measure_backlog(connection: Connection, now: Instant) -> Backlog:
    """Count pending and dead entities, and name some that keep failing."""
    removal_since = case((entities.c.is_removal, entities.c.pending_since))
    pending, oldest, oldest_removal, latest, latest_removal = connection.execute(
        select(
            func.count(),
            func.min(entities.c.pending_since),
            func.min(removal_since),
            func.max(entities.c.pending_since),
            func.max(removal_since),
        ).where(entities.c.state == EntityState.PENDING)
    ).one()
    dead = connection.execute(
        select(func.count()).select_from(entities).where(entities.c.state == EntityState.DEAD)
    ).scalar_one()
    keep_failing = (
        entities.c.state == EntityState.PENDING,
        entities.c.priority >= Priority.RETRIED_REVOCATION,
        # An entity that failed alone has cost a timeout already; one that is busy may be so for a
        # moment only. A time in the future was set by a clock that was ahead.
        or_(
            entities.c.request_limit == 1,
            entities.c.waiting_since <= after(now, -_TROUBLED_SECONDS),
            entities.c.waiting_since > after(now, _TROUBLED_SECONDS),
        ),
    )
    columns = (entities.c.kind, entities.c.key, entities.c.last_error_code, entities.c.last_error)
    troubled = connection.execute(
        select(*columns, func.count().over())
        .where(*keep_failing)
        .order_by(entities.c.waiting_since)
        .limit(_TROUBLED_NAMED)
    ).all()
    return Backlog(
        pending=pending,
        oldest_pending_since=oldest,
        oldest_removal_since=oldest_removal,
        dead=dead,
        latest_pending_since=latest,
        latest_removal_since=latest_removal,
        troubled=tuple(
            TroubledEntity(EntityRef(Kind(kind), EntityKey(key)), code or "", message or "")
            for kind, key, code, message, _ in troubled
        ),
        troubled_count=troubled[0][-1] if troubled else 0,
    )
