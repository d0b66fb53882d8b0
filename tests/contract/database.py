"""A PostgreSQL with our migrations, spoken to in SQL as any role."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from app.demo.local_supabase import CHECKOUT, GUARD, LITE
from app.demo.node import find_node, install_packages
from tests.drivers import run_driver

HERE: Final = Path(__file__).parent
MIGRATIONS: Final = CHECKOUT / "supabase" / "migrations"
REFUSED: Final = "42501"

Rows = list[dict[str, Any]]


class Refused(Exception):
    """The database refused a statement.

    Attributes:
        code: the SQLSTATE.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Runner(Protocol):
    """What runs `sql` with `parameters`, or a `script`: PGlite's program, or a connection."""

    def ask(self, **command: Any) -> Any:
        """Give `{"rows": …}` or `{"error": {"code": …, "message": …}}`."""


class ConnectionRunner:
    """The same over a connection."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def ask(self, **command: Any) -> Any:
        try:
            if "script" in command:
                self._connection.execute(command["script"].encode())
                return {"rows": []}
            cursor = psycopg.RawCursor(self._connection, row_factory=dict_row)
            cursor.execute(command["sql"].encode(), command["parameters"])
            return {"rows": cursor.fetchall() if cursor.description else []}
        except psycopg.Error as error:
            return {"error": {"code": error.sqlstate, "message": error.diag.message_primary}}


class Database:
    """One connection, as the owner of everything unless told otherwise."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, sql: str, *parameters: object) -> Rows:
        """Run one statement; ids may be UUIDs.

        Raises:
            Refused: with the SQLSTATE.
        """
        values = [str(value) if isinstance(value, UUID) else value for value in parameters]
        return self._ask(sql=sql, parameters=values)

    def run_script(self, script: str) -> None:
        """Run any number of statements."""
        self._ask(script=script)

    def _ask(self, **command: object) -> Rows:
        answer = self._runner.ask(**command)
        if "error" in answer:
            raise Refused(answer["error"]["code"], answer["error"]["message"])
        rows: Rows = answer["rows"]
        return rows

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Take back what the block does, settings and failed statements included."""
        self.run_script("savepoint undone")
        try:
            yield
        finally:
            self.run_script("rollback to savepoint undone; release savepoint undone")

    @contextmanager
    def rolled_back(self) -> Iterator["Database"]:
        """Give it inside a transaction, of which nothing is left: each test finds it as it was."""
        self.run_script("begin")
        try:
            yield self
        finally:
            self.run_script("rollback")

    @contextmanager
    def as_caller(
        self, role: str, user_id: UUID | None = None, *, topic: str | None = None
    ) -> Iterator[None]:
        """Be who PostgREST or Realtime would make the caller; the block is undone."""
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


@contextmanager
def run_database(folder: Path, migrations: Sequence[Path] | None = None) -> Iterator[Database]:
    """Run one until the block ends, with what hosted Supabase has, and then migrations.

    Args:
        folder: an empty one, for its log.
        migrations: ours by default.
    """
    node = find_node()
    modules = install_packages(
        node,
        manifests=LITE,
        guard=GUARD,
        cache=CHECKOUT / ".local",
        report=lambda _: None,
    )
    pglite = modules / "@electric-sql" / "pglite" / "dist" / "index.js"
    with run_driver(node, HERE / "database.mjs", pglite.as_uri(), folder=folder) as driver:
        database = Database(driver)
        hosted = (LITE / "hosted_defaults.sql", HERE / "hosted.sql")
        own = sorted(MIGRATIONS.glob("*.sql")) if migrations is None else migrations
        for path in (*hosted, *own):
            database.run_script(path.read_text())
        yield database


@contextmanager
def open_database(database_url: str) -> Iterator[Database]:
    """Speak to a project's own database."""
    with psycopg.connect(
        database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row
    ) as connection:
        yield Database(ConnectionRunner(connection))
