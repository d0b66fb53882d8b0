"""A snapshot of the source, sorted by key."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from app.cli.source.temporary_database import TemporaryDatabase
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key, split_membership_key
from app.domain.instants import Instant
from app.domain.row_digests import digest_row

_SCHEMA: Final = """
create table source_rows (
  kind text not null, key text not null, digest text not null, role text, status text,
  data text not null, primary key (kind, key)
) without rowid;
create table unsent (kind text not null, key text not null, primary key (kind, key)) without rowid;
"""


class SourceRow(NamedTuple):
    """A row of the source.

    Attributes:
        role: of a membership; None of other kinds.
        status: of a membership; None of other kinds.
    """

    key: EntityKey
    digest: str
    role: str | None
    status: str | None


class Snapshot(TemporaryDatabase):
    """The rows of a source at one time.

    Attributes:
        at: the relay has received every event up to this time; set before the first row is added.
    """

    def __init__(self) -> None:
        super().__init__(_SCHEMA)
        self.at = Instant(0)

    def add_row(self, kind: Kind, row: Mapping[str, str], sent: Mapping[str, Any]) -> bool:
        """Add a row; tell whether it is new.

        Args:
            row: the contract's fields.
            sent: all fields of the source. Some may be kept beyond the contract.
        """
        key = _key_of(kind, row)
        columns = (kind.value, key, digest_row(kind, row), row.get("role"), row.get("status"))
        added = self.connection.execute(
            "insert into source_rows values (?, ?, ?, ?, ?, ?) on conflict do nothing",
            # ASCII, because a field beyond the contract may hold lone surrogates.
            (*columns, json.dumps({**sent, **row})),
        )
        return added.rowcount == 1

    def count_rows(self, kind: Kind) -> int:
        """Count the rows of a kind."""
        return self.count("select count(*) from source_rows where kind = ?", kind.value)

    def read_rows(self, kind: Kind) -> Iterator[SourceRow]:
        """Read the rows of a kind, in the byte order of their keys."""
        query = "select key, digest, role, status from source_rows where kind = ? order by key"
        return map(SourceRow._make, self.connection.execute(query, (kind.value,)))

    def find_data(self, ref: EntityRef) -> str | None:
        """Return all fields of a row as JSON; None if the source has no such row."""
        query = "select data from source_rows where kind = ? and key = ?"
        found = self.connection.execute(query, ref).fetchone()
        return None if found is None else str(found[0])

    def has_parents(self, key: EntityKey) -> bool:
        """Tell whether the source has the trip and the user of a membership."""
        return all(self.find_data(parent) is not None for parent in _parents(key))

    def add_unsent(self, ref: EntityRef) -> None:
        """Note that the source has an event of an entity that the relay has not received."""
        self.connection.execute("insert or ignore into unsent values (?, ?)", ref)

    def is_unsent(self, ref: EntityRef) -> bool:
        """Tell whether an unsent event may change an entity.

        The removal of a trip or user also removes its memberships.
        """
        refs = [ref, *(_parents(ref.key) if ref.kind is Kind.MEMBERSHIP else ())]
        query = "select count(*) from unsent where kind = ? and key = ?"
        return any(self.count(query, *each) for each in refs)


def _key_of(kind: Kind, row: Mapping[str, str]) -> EntityKey:
    if kind is Kind.MEMBERSHIP:
        return membership_key(row["trip_id"], row["user_id"])
    return EntityKey(row["id"])


def _parents(key: EntityKey) -> list[EntityRef]:
    """Name the trip and the user of a membership."""
    trip_id, user_id = split_membership_key(key)
    return [
        EntityRef(Kind.TRIP, EntityKey(trip_id)),
        EntityRef(Kind.USER, EntityKey(user_id)),
    ]
