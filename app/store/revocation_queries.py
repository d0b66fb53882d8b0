"""Revocations of memberships: recording when each was applied, and measuring the exposure.

An unapplied revocation is in `entities.revoked_at`, an applied one in `revocations`. A replay or a
repair of the same state adds no other. Revocations in a row, such as a membership's and then its
trip's, count as one that begins with the first.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Subquery,
    case,
    func,
    literal,
    select,
    type_coerce,
    union_all,
)

from app.domain.entities import EntityKey, PendingEntity
from app.domain.exposure import (
    BUCKET_SECONDS,
    ExposureFilter,
    ExposureReport,
    ExposureSummary,
    Revocation,
)
from app.domain.instants import MICROSECONDS_PER_SECOND, Instant
from app.store.schema import entities, revocations

# The first application counts.
_RECORD: Final = """
INSERT INTO revocations (key, occurred_at, received_at, applied_at)
VALUES (:key, :revoked_at, :received_at, :applied_at)
ON CONFLICT (key, occurred_at) DO NOTHING
"""

# At any revision: Supabase has revoked the access, even if the membership has changed since.
_END: Final = """
UPDATE entities SET revoked_at = NULL, revocation_received_at = NULL
WHERE kind = 'membership' AND key = :key AND revoked_at = :revoked_at
"""

Step = tuple[str, list[dict[str, Any]]]
"""A statement of the transaction that records outcomes, and its values."""

_PERCENTS: Final = (50, 95, 99, 100)


def record_revocations(applications: Sequence[tuple[PendingEntity, Instant]]) -> list[Step]:
    """Return the steps that record the revocations among entities that were applied.

    Args:
        applications: each entity as it was claimed, and when Supabase responded.
    """
    values: list[dict[str, Any]] = [
        {
            "key": entity.ref.key,
            "revoked_at": entity.revoked_at,
            "received_at": entity.revocation_received_at,
            "applied_at": at,
        }
        for entity, at in applications
        if entity.revoked_at is not None
    ]
    return [(_RECORD, values), (_END, values)]


def read_exposure(
    connection: Connection, criteria: ExposureFilter, now: Instant, limit: int
) -> ExposureReport:
    """Measure the exposure of matching revocations, and read the longest ones."""
    windows = _select_windows(criteria)
    ended_at = func.coalesce(windows.c.applied_at, now)
    exposed = type_coerce(ended_at - windows.c.occurred_at, BigInteger)
    rows = connection.execute(
        select(windows, ended_at.label("ended_at"))
        # The key makes the order total.
        .order_by(windows.c.applied_at.is_not(None), exposed.desc(), windows.c.key)
        .limit(limit)
    )
    longest = tuple(
        Revocation(
            key=EntityKey(row.key),
            occurred_at=Instant(row.occurred_at),
            received_at=Instant(row.received_at),
            applied_at=row.applied_at,
            ended_at=Instant(row.ended_at),
        )
        for row in rows
    )
    return ExposureReport(_measure(connection, windows, exposed), longest)


def count_by_exposure(connection: Connection, criteria: ExposureFilter, now: Instant) -> list[int]:
    """Count matching revocations by the buckets of `BUCKET_SECONDS`, and last the longer ones."""
    windows = _select_windows(criteria)
    exposed = func.coalesce(windows.c.applied_at, now) - windows.c.occurred_at
    bucket = case(
        *(
            (exposed <= int(seconds * MICROSECONDS_PER_SECOND), number)
            for number, seconds in enumerate(BUCKET_SECONDS)
        ),
        else_=len(BUCKET_SECONDS),
    )
    buckets = select(bucket.label("bucket")).subquery("buckets")
    rows = connection.execute(
        select(buckets.c.bucket, func.count()).group_by(buckets.c.bucket)
    ).all()
    counts: dict[int, int] = {number: count for number, count in rows}  # noqa: C416 - rows
    return [counts.get(number, 0) for number in range(len(BUCKET_SECONDS) + 1)]


def _measure(
    connection: Connection, windows: Subquery, exposed: ColumnElement[int]
) -> ExposureSummary:
    """Count the windows and find their percentiles, by the nearest rank."""
    total = func.count().over()
    ranked = select(
        exposed.label("exposed"),
        func.row_number().over(order_by=exposed).label("rank"),
        total.label("total"),
        (total - func.count(windows.c.applied_at).over()).label("unapplied"),
    ).subquery("ranked")
    ranks = [(ranked.c.total * percent + 99) // 100 for percent in _PERCENTS]
    found = connection.execute(
        select(ranked).where(ranked.c.rank.in_(ranks)).order_by(ranked.c.rank)
    ).all()
    if not found:
        return ExposureSummary(0, 0, None, None, None, None)
    total_count, unapplied = found[0].total, found[0].unapplied
    by_rank = {row.rank: max(0, row.exposed) / MICROSECONDS_PER_SECOND for row in found}
    percentiles = [by_rank[(total_count * percent + 99) // 100] for percent in _PERCENTS]
    return ExposureSummary(total_count, unapplied, *percentiles)


def _select_windows(criteria: ExposureFilter) -> Subquery:
    """Select the revocations whose exposure overlaps the period."""
    applied = select(
        revocations.c.key,
        revocations.c.occurred_at,
        revocations.c.received_at,
        revocations.c.applied_at,
    ).where(
        revocations.c.applied_at >= criteria.since,
        *_match(criteria, revocations, revocations.c.occurred_at),
    )
    unapplied = select(
        entities.c.key,
        entities.c.revoked_at,
        entities.c.revocation_received_at,
        literal(None, BigInteger),
    ).where(
        entities.c.revoked_at.is_not(None),
        *_match(criteria, entities, entities.c.revoked_at),
    )
    return union_all(applied, unapplied).subquery("windows")


def _match(
    criteria: ExposureFilter, source: FromClause, occurred_at: ColumnElement[Any]
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if criteria.until is not None:
        conditions.append(occurred_at < criteria.until)
    if criteria.trip_id is not None:
        # A membership's key is <trip_id>/<user_id>, and 0 is the character after the slash.
        conditions += [
            source.c.key > f"{criteria.trip_id}/",
            source.c.key < f"{criteria.trip_id}0",
        ]
    return conditions
