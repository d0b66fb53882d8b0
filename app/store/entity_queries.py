"""Listing the desired state."""

import json
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, TextClause, select, text

from app.domain.entities import EntityKey, Kind
from app.domain.instants import Instant
from app.domain.row_digests import digest_row
from app.store.schema import OF_USER, entities

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
    return _read_page(connection, kind, entities.c.kind == kind.value, after, limit)


def read_memberships_of_user(
    connection: Connection, user_id: str, after: EntityKey | None, limit: int
) -> EntityPage:
    """Read the memberships of one user in the byte order of their keys, tombstones too."""
    of_user = text(OF_USER).bindparams(key=user_id)
    return _read_page(connection, Kind.MEMBERSHIP, of_user, after, limit)


def _read_page(
    connection: Connection,
    kind: Kind,
    condition: ColumnElement[bool] | TextClause,
    after: EntityKey | None,
    limit: int,
) -> EntityPage:
    statement = (
        select(entities.c.key, entities.c.occurred_at, entities.c.row)
        .where(condition, entities.c.key > (after or _FIRST))
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
