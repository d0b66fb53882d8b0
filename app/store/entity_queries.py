"""Listing the desired state."""

import json
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from app.domain.entities import EntityKey, Kind
from app.domain.instants import Instant
from app.domain.row_digests import digest_row
from app.store.schema import entities

_FIRST: Final = EntityKey("")


class DesiredEntity(NamedTuple):
    """One entity of the desired state, without its personal data.

    Attributes:
        version_at: the timestamp of the desired version.
        digest: of the desired row; None for no row.
    """

    key: EntityKey
    version_at: Instant
    digest: str | None

    @property
    def is_removed(self) -> bool:
        """Whether the desired state is a tombstone."""
        return self.digest is None


class EntityPage(NamedTuple):
    """A page of entities, in the order of their keys.

    Attributes:
        last_key: the next page begins after it; None on the last page.
    """

    entities: tuple[DesiredEntity, ...]
    last_key: EntityKey | None


def read_entity_page(
    connection: Connection, kind: Kind, after: EntityKey | None, limit: int
) -> EntityPage:
    """Read entities of one kind in the byte order of their keys, tombstones too.

    The primary key leads to the page, so that every page takes the same time.
    """
    statement = (
        select(entities.c.key, entities.c.occurred_at, entities.c.row)
        .where(entities.c.kind == kind.value, entities.c.key > (after or _FIRST))
        .order_by(entities.c.key)
        .limit(limit + 1)
    )
    found = tuple(
        DesiredEntity(
            EntityKey(key),
            Instant(occurred_at),
            None if row is None else digest_row(kind, json.loads(row)),
        )
        for key, occurred_at, row in connection.execute(statement)
    )
    if len(found) > limit:
        return EntityPage(found[:limit], found[limit - 1].key)
    return EntityPage(found, None)
