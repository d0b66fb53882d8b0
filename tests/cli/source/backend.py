"""A backend's database, as the guides describe it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from tests.cli.source.sides import Row, kind_of
from tests.golang import OUTBOX_SQL
from tests.postgres import PostgresServer

_TABLES: Final = """
create type membership_role as enum ('OWNER', 'MEMBER', 'ADMIN', 'PILOT');
create type membership_status as enum ('ACTIVE', 'INACTIVE');
create table users (id uuid primary key, email text not null, username text not null);
create table trips (id uuid primary key, name text not null, created_by uuid,
  deleted_at timestamptz);
create table trip_memberships (trip_id uuid not null, user_id uuid not null,
  role membership_role not null, status membership_status not null, deleted_at timestamptz,
  primary key (trip_id, user_id));
"""
_NAMES: Final = {"user": "users", "trip": "trips", "membership": "trip_memberships"}


@dataclass(frozen=True)
class Backend:
    """A database of the documented schema."""

    url: str

    def execute(self, statement: str, values: Iterable[object] = ()) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement.encode(), tuple(values) or None)

    def insert(self, *rows: Row) -> None:
        for row in rows:
            names, places = ", ".join(row), ", ".join(["%s"] * len(row))
            table = _NAMES[kind_of(row)]
            self.execute(f"insert into {table} ({names}) values ({places})", row.values())  # noqa: S608

    def record(self, event_type: str, data: Row) -> None:
        """Put an event into the outbox."""
        self.execute(
            "insert into relay_outbox (type, data) values (%s, %s)", (event_type, Jsonb(data))
        )


def create_backend(postgres: PostgresServer, *, has_outbox: bool = True) -> Backend:
    """Create the tables in a new database."""
    backend = Backend(postgres.create_database())
    backend.execute(_TABLES)
    if has_outbox:
        backend.execute(OUTBOX_SQL.read_text())
    return backend
