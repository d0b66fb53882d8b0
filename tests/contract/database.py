"""A database as hosted Supabase has it, with our migrations, spoken to in SQL as any role."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from app.demo.local_supabase import CHECKOUT, LITE
from app.supabase.policy_pack.description import read_tables
from app.supabase.policy_pack.rendering import render_pack
from tests.postgres import PostgresServer

MIGRATIONS: Final = CHECKOUT / "supabase" / "migrations"
PUBLISHED: Final = Path(__file__).with_name("published.sql")
"""The tables of a backend that writes them itself."""
REFUSED: Final = "42501"
HOSTED: Final = Path(__file__).with_name("hosted.sql")
"""What a bare PostgreSQL lacks of hosted Supabase."""
# What hosted Supabase has before the first migration.
_HOSTED: Final = (LITE / "hosted_defaults.sql", HOSTED)

Rows = list[dict[str, Any]]


class Refused(Exception):
    """The database refused a statement.

    Attributes:
        code: the SQLSTATE.
    """

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(f"{error.sqlstate}: {error.diag.message_primary}")
        self.code = error.sqlstate


class Database:
    """One connection, as the owner of all objects by default."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def run(self, sql: str, *parameters: object) -> Rows:
        """Run one statement; ids may be UUIDs.

        Raises:
            Refused: with the SQLSTATE.
        """
        values = [str(value) if isinstance(value, UUID) else value for value in parameters]
        cursor = psycopg.RawCursor(self._connection, row_factory=dict_row)
        try:
            cursor.execute(sql.encode(), values)
        except psycopg.Error as error:
            raise Refused(error) from error
        return cursor.fetchall() if cursor.description else []

    def run_script(self, script: str) -> None:
        """Run any number of statements."""
        try:
            self._connection.execute(script.encode())
        except psycopg.Error as error:
            raise Refused(error) from error

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo the block, including settings and failed statements."""
        self.run_script("savepoint undone")
        try:
            yield
        finally:
            self.run_script("rollback to savepoint undone; release savepoint undone")

    @contextmanager
    def rolled_back(self) -> Iterator["Database"]:
        """Yield the database inside a transaction that is rolled back."""
        self.run_script("begin")
        try:
            yield self
        finally:
            self.run_script("rollback")

    @contextmanager
    def as_caller(
        self, role: str, user_id: UUID | None = None, *, topic: str | None = None
    ) -> Iterator[None]:
        """Become the caller as PostgREST and Realtime do; the block is undone."""
        claims = {"role": role} | ({"sub": str(user_id)} if user_id else {})
        with self.undone():
            self.run(
                "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),"
                " set_config('realtime.topic', $3, true)",
                role,
                json.dumps(claims),
                topic or "",
            )
            yield


def create_project_database(
    server: PostgresServer, migrations: Sequence[Path] | None = None
) -> str:
    """Create a database as a project's is after these migrations, by default ours; return its URL.

    Ours are what `relay sql --all` prints.
    """
    url = server.create_database()
    own = sorted(MIGRATIONS.glob("*.sql")) if migrations is None else migrations
    with psycopg.connect(url, autocommit=True) as connection:
        for path in (*_HOSTED, *own):
            connection.execute(path.read_bytes())
    return url


def write_published_pack() -> str:
    """Write the pack that the documentation shows for the published tables."""
    tables = read_tables(CHECKOUT / "docs" / "snippets" / "toml" / "tables.toml")
    return "".join(part.sql for part in render_pack(tables, "By a test."))


@contextmanager
def open_database(database_url: str) -> Iterator[Database]:
    """Connect to a project's database."""
    with psycopg.connect(
        database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row
    ) as connection:
        yield Database(connection)
