"""Claiming due entities, in the SQL that SQLite >= 3.35 and PostgreSQL >= 14 have in common."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, text

from app.domain.entities import EntityRef, Kind, PendingEntity, Priority, Version
from app.domain.instants import Instant
from app.domain.retry import latest_due_at

_CLAIM_COLUMNS: Final = (
    "kind, key, occurred_at, is_removal, sequence, row, revision, attempts, waiting_since,"
    " pending_since, last_error_code, request_limit, revoked_at, revocation_received_at,"
    " (SELECT event_id FROM events WHERE events.sequence = entities.sequence) AS event_id"
)

# In the order of the index. `held` excludes held entities. Those due after `latest`, the longest
# legitimate wait, were delayed by a clock that ran ahead: they are due, after the others.
CLAIM: Final = f"""
SELECT * FROM (
    SELECT {_CLAIM_COLUMNS} FROM entities
    WHERE state = 'pending' AND priority = :priority AND due_at <= :now {{held}}
    ORDER BY due_at, kind DESC
    LIMIT :limit
) AS due
UNION ALL
SELECT * FROM (
    SELECT {_CLAIM_COLUMNS} FROM entities
    WHERE state = 'pending' AND priority = :priority AND due_at > :latest {{held}}
    ORDER BY due_at, kind DESC
    LIMIT :limit
) AS delayed
LIMIT :limit
"""  # noqa: S608 - the columns are the constant above

# One of the held entities, due or not. An entity that fails is due later, so each trial gets
# another one.
_CLAIM_HELD: Final = f"""
SELECT {_CLAIM_COLUMNS} FROM entities
WHERE state = 'pending' AND kind = :kind AND {{is_deleted}} = :is_deleted
ORDER BY due_at
LIMIT 1
"""  # noqa: S608

# Each number in a subquery: grouped by priority, SQLite would scan the whole queue.
_NEXT: Final = "SELECT {0}(due_at) FROM entities WHERE state = 'pending' AND priority = {1:d}"
SELECT_SCHEDULE: Final = " UNION ALL ".join(
    f"SELECT {each:d}, ({_NEXT.format('MIN', each)}), ({_NEXT.format('MAX', each)})"
    for each in Priority
)
_SCHEDULE: Final = text(SELECT_SCHEDULE)
# SQLAlchemy parses the parameters of a text each time.
_prepare = cache(text)


@dataclass(frozen=True, slots=True)
class Held:
    """One kind of entity, its deletes or its writes, that is not retried for now."""

    kind: Kind
    is_delete: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for a batch.

    Attributes:
        order: the queues, first to last; the first that has anything due provides the batch.
        limits: most entities of a batch, by queue.
        held: excluded among retries; a fresh change is always tried.
        trial: claim one entity of these instead, due or not.
        deletes_inactive: whether a membership without access is deleted in Supabase.
        excluded: entities whose outcome at a revision could not be recorded yet.
    """

    order: Sequence[Priority]
    limits: Mapping[Priority, int]
    held: frozenset[Held] = frozenset()
    trial: Held | None = None
    deletes_inactive: bool = False
    excluded: Mapping[EntityRef, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities of one queue for one request; at least one."""

    priority: Priority
    entities: Sequence[PendingEntity]


def claim(connection: Connection, now: Instant, wanted: Wanted) -> Batch | None:
    """Claim a batch without recording anything; None if nothing is due.

    It only reads: one dispatcher is active at a time.
    """
    if wanted.trial is not None:
        return _claim_trial(connection, wanted.trial, wanted)
    held = "".join(_exclude(each, wanted) for each in sorted(wanted.held, key=repr))
    schedule = _read_schedule(connection, now)
    for priority in wanted.order:
        if priority not in schedule or schedule[priority] > now:
            continue
        statement = _prepare(CLAIM.format(held=held if priority.is_retry else ""))
        limit = wanted.limits[priority]
        values = {
            "priority": int(priority),
            "now": now,
            "latest": latest_due_at(priority, now),
            "limit": limit + len(wanted.excluded),
        }
        entities = _trim(
            map(_to_entity, connection.execute(statement, values)), limit, wanted.excluded
        )
        if entities:
            return Batch(priority, entities)
    return None


def find_next_due(connection: Connection, now: Instant) -> Instant | None:
    """Return when the next entity is due; None if nothing is pending."""
    return min(_read_schedule(connection, now).values(), default=None)


def _read_schedule(connection: Connection, now: Instant) -> dict[int, Instant]:
    """Return when the next entity of each queue is due."""
    return {
        priority: now if last > latest_due_at(Priority(priority), now) else first
        for priority, first, last in connection.execute(_SCHEDULE)
        if first is not None
    }


def _claim_trial(connection: Connection, trial: Held, wanted: Wanted) -> Batch | None:
    statement = _prepare(_CLAIM_HELD.format(is_deleted=_is_deleted(wanted)))
    values = {"kind": trial.kind.value, "is_deleted": trial.is_delete}
    entities = [_to_entity(row) for row in connection.execute(statement, values)]
    return Batch(Priority.ALONE, entities) if entities else None


def _exclude(held: Held, wanted: Wanted) -> str:
    negation = "" if held.is_delete else "NOT "
    return f" AND NOT (kind = '{held.kind.value}' AND {negation}{_is_deleted(wanted)})"


def _is_deleted(wanted: Wanted) -> str:
    # A removed user or trip has no row; a removed membership may have one, with its status.
    return "is_removal" if wanted.deletes_inactive else "(row IS NULL)"


def _trim(
    entities: Iterable[PendingEntity], limit: int, excluded: Mapping[EntityRef, int]
) -> list[PendingEntity]:
    """Return the first entities, no more than the request limit of any of them."""
    trimmed: list[PendingEntity] = []
    for entity in entities:
        if excluded and excluded.get(entity.ref) == entity.revision:
            continue
        if entity.request_limit is not None:
            limit = min(limit, entity.request_limit)
        if len(trimmed) >= limit:
            break
        trimmed.append(entity)
    return trimmed


def _to_entity(found: Sequence[Any]) -> PendingEntity:
    kind, key, occurred_at, is_removal, sequence, row, revision, *rest = found
    version = Version(occurred_at, bool(is_removal), sequence)
    return PendingEntity(EntityRef(Kind(kind), key), version, row, revision, *rest)
