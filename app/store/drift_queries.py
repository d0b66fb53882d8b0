"""Reading the desired state in order to compare Supabase with it."""

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Text, bindparam, text

from app.domain.entities import EntityKey, EntityState, Kind, RowText, split_membership_key
from app.store.schema import OF_TRIP, OF_USER

# At most this many rows are in memory, and keep the event loop waiting.
_CHUNK_ROWS: Final = 500
# The share of the time that a scan works; the event loop has the rest to itself.
_DUTY_CYCLE: Final = 0.5
# After every key; keys are ASCII.
_END: Final = "\x7f"

_SELECT_EVERY_NTH_KEY = text("""
SELECT key FROM (
    SELECT key, ROW_NUMBER() OVER (ORDER BY key) AS number FROM entities WHERE kind = :kind
) AS numbered
WHERE number % :step = 0
ORDER BY key
""")

# `kind || ''` is no column: SQLite would read every entity of the kind by the primary key.
_SELECT_UNSETTLED = text("""
SELECT key FROM entities WHERE kind || '' = :kind AND state = 'pending'
UNION ALL
SELECT key FROM entities WHERE kind = :kind AND state = 'dead'
LIMIT :limit
""")

# Of all kinds, as one scan reads them all.
_SELECT_APPLIED = text("""
SELECT kind, key, row FROM entities
WHERE state = 'applied' AND row IS NOT NULL
  AND NOT (kind = 'membership' AND is_removal AND :removes)
""")

_SELECT_RANGE = text("""
SELECT key, CASE WHEN is_removal AND :removes THEN NULL ELSE row END AS row, state FROM entities
WHERE kind = :kind AND key >= :start AND key < :end AND (row IS NOT NULL OR state <> 'applied')
""")

_SELECT_KNOWN = text("SELECT key FROM entities WHERE kind = :kind AND key IN :keys").bindparams(
    bindparam("keys", type_=Text, expanding=True)
)

_SELECT_UNSETTLED_AMONG = text("""
SELECT key FROM entities WHERE kind = :kind AND key IN :keys AND state <> 'applied'
""").bindparams(bindparam("keys", type_=Text, expanding=True))

_HAS_MEMBERS: Final = {
    kind: text(f"SELECT EXISTS (SELECT 1 FROM entities WHERE {of_it} AND row IS NOT NULL)")  # noqa: S608
    for kind, of_it in ((Kind.TRIP, OF_TRIP), (Kind.USER, f"kind = 'membership' AND {OF_USER}"))
}


@dataclass(frozen=True, slots=True)
class DesiredEntity:
    """An entity that Supabase should hold a row of, or may hold one of.

    Attributes:
        row: the desired row; None for no row.
        state: pending and dead entities are not compared.
    """

    row: RowText | None
    state: EntityState


def read_thresholds(connection: Connection, kind: Kind, rows: int) -> list[str]:
    """Read values of the first key column that cut the entities into ranges of about `rows`."""
    keys = connection.execute(_SELECT_EVERY_NTH_KEY, {"kind": kind, "step": rows}).scalars()
    return sorted({_first_id(kind, key) for key in keys})


def read_unsettled(connection: Connection, kind: Kind, limit: int) -> list[EntityKey]:
    """Read the keys of pending and dead entities: nobody knows what Supabase holds of them."""
    return list(
        connection.execute(_SELECT_UNSETTLED, {"kind": kind, "limit": limit}).scalars().all()
    )


def sum_buckets(
    connection: Connection,
    thresholds: Mapping[Kind, Sequence[str]],
    digest_row: Mapping[Kind, Callable[[str], int]],
    *,
    removes_inactive: bool,
) -> dict[Kind, list[tuple[int, int]]]:
    """Count and digest the rows that Supabase should hold, by ranges of the first key column.

    Args:
        digest_row: computes the digest of a stored row.
        removes_inactive: whether Supabase holds no row for a membership without access.
    """
    counts = {kind.value: [0] * (len(thresholds[kind]) + 1) for kind in Kind}
    totals = {kind.value: [0] * (len(thresholds[kind]) + 1) for kind in Kind}
    streaming = connection.execution_options(stream_results=True, max_row_buffer=_CHUNK_ROWS)
    found = streaming.execute(_SELECT_APPLIED, {"removes": removes_inactive})
    started_at = time.monotonic()
    for chunk in found.partitions(_CHUNK_ROWS):
        for kind, key, row in chunk:
            # A membership's key begins with the id of its trip and is longer.
            bucket = bisect_right(thresholds[kind], key)
            counts[kind][bucket] += 1
            totals[kind][bucket] += digest_row[kind](row)
        used_seconds = time.monotonic() - started_at
        time.sleep(used_seconds * (1 / _DUTY_CYCLE - 1))
        started_at = time.monotonic()
    return {kind: list(zip(counts[kind], totals[kind], strict=True)) for kind in Kind}


def read_range(
    connection: Connection,
    kind: Kind,
    start: str | None,
    end: str | None,
    *,
    removes_inactive: bool,
) -> dict[EntityKey, DesiredEntity]:
    """Read the entities of a range that are not applied tombstones.

    Args:
        start: the first value of the first key column; None from the beginning.
        end: the value before which to stop; None for none.
    """
    values = {
        "kind": kind,
        "start": start or "",
        "end": end or _END,
        "removes": removes_inactive,
    }
    return {
        key: DesiredEntity(row, EntityState(state))
        for key, row, state in connection.execute(_SELECT_RANGE, values)
    }


def find_known(
    connection: Connection, kind: Kind, keys: Collection[EntityKey]
) -> frozenset[EntityKey]:
    """Find the keys that any event was ever about."""
    values = {"kind": kind, "keys": list(keys)}
    return frozenset(connection.execute(_SELECT_KNOWN, values).scalars())


def find_with_members(
    connection: Connection, kind: Kind, keys: Collection[EntityKey]
) -> frozenset[EntityKey]:
    """Find the trips or users that desired memberships refer to."""
    if kind is Kind.MEMBERSHIP:
        return frozenset()
    return frozenset(
        key for key in keys if connection.execute(_HAS_MEMBERS[kind], {"key": key}).scalar_one()
    )


def find_with_unsettled_parents(
    connection: Connection, keys: Collection[EntityKey]
) -> frozenset[EntityKey]:
    """Find the memberships whose trip or user is pending or dead: its removal may have cascaded."""
    parents = {key: split_membership_key(key) for key in keys}
    unsettled: dict[Kind, set[str]] = {}
    for kind, position in ((Kind.TRIP, 0), (Kind.USER, 1)):
        ids = list({ids[position] for ids in parents.values()})
        values = {"kind": kind, "keys": ids}
        unsettled[kind] = set(connection.execute(_SELECT_UNSETTLED_AMONG, values).scalars())
    return frozenset(
        key
        for key, (trip_id, user_id) in parents.items()
        if trip_id in unsettled[Kind.TRIP] or user_id in unsettled[Kind.USER]
    )


def _first_id(kind: Kind, key: EntityKey) -> str:
    return split_membership_key(key)[0] if kind is Kind.MEMBERSHIP else key
