"""Tables for the wire's tests, in a separate schema that PostgREST does not expose."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

SCHEMA: Final = "relay_conformance"


class Tables:
    """What the tests make in a database; all of it is in `SCHEMA`."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self._connection = psycopg.connect(database_url, autocommit=True, prepare_threshold=None)
        self._numbers = count(1)

    def run(self, script: str) -> list[tuple[Any, ...]]:
        """Run any number of statements as the owner."""
        # Bytes: the script is built by a test.
        cursor = self._connection.execute(script.encode())
        return cursor.fetchall() if cursor.description else []

    def create(self, columns: str, *, name: str | None = None) -> str:
        """Create a table that service_role may write; return its name as requests name it."""
        name = name or f"table_{next(self._numbers)}"
        table = sql.Identifier(SCHEMA, name)
        self._connection.execute(sql.SQL("create table {} ({})").format(table, sql.SQL(columns)))
        self._connection.execute(
            sql.SQL("grant select, insert, update, delete on {} to service_role").format(table)
        )
        return f"{SCHEMA}.{name}"

    def add_trigger(self, table: str, body: str, *, when: str = "before insert or update") -> None:
        """Have PL/pgSQL run for each row of a table."""
        name = f"{SCHEMA}.trigger_{next(self._numbers)}"
        self.run(f"""
            create function {name}() returns trigger language plpgsql as $$
            begin
              {body}
              return coalesce(new, old);
            end
            $$;
            create trigger calls {when} on {table} for each row execute function {name}();
        """)

    def read(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.run(f"select {columns} from {table} order by 1")

    @contextmanager
    def held(self, statement: str, *, commit: bool = False) -> Iterator[None]:
        """Run a statement in a transaction that stays open until the block ends."""
        with psycopg.connect(self.database_url, prepare_threshold=None) as connection:
            connection.execute(statement.encode())
            yield
            if commit:
                connection.commit()
            else:
                connection.rollback()

    @contextmanager
    def changed_meanwhile(self, statement: str, *, when: str) -> Iterator[None]:
        """Run a statement from another connection while the block runs, once a condition holds."""
        done = threading.Thread(target=self._run_when, args=(statement, when))
        done.start()
        yield
        done.join()

    def _run_when(self, statement: str, when: str) -> None:
        other = Tables(self.database_url)
        other.await_true(when)
        other.run(statement)
        other.close()

    def await_waiter(self) -> None:
        """Return once another connection waits for a lock."""
        self.await_true("""
            select count(*) > 0 from pg_locks join pg_stat_activity using (pid)
            where not granted and datname = current_database()
        """)

    def await_true(self, question: str) -> None:
        """Poll until the condition holds."""
        deadline = time.monotonic() + 10
        while self.run(question) != [(True,)]:
            assert time.monotonic() < deadline, question
            time.sleep(0.01)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def open_tables(database_url: str) -> Iterator[Tables]:
    """Make the schema, and drop it when the block ends; one that a killed run left is replaced."""
    tables = Tables(database_url)
    drop = f"drop schema if exists {SCHEMA} cascade"
    tables.run(f"{drop}; create schema {SCHEMA}; grant usage on schema {SCHEMA} to service_role")
    try:
        yield tables
    finally:
        tables.run(drop)
        tables.close()


def make_ids(count: int) -> list[str]:
    """Make ids in the order of a key."""
    return sorted(str(uuid4()) for _ in range(count))


def require_collation(tables: Tables, name: str) -> None:
    """Skip the test where PostgreSQL was built without ICU."""
    try:
        tables.run(f"select 'a' < 'b' collate \"{name}\"")
    except psycopg.Error:
        pytest.skip(f"this server has no collation {name}")


def require_citext(tables: Tables) -> str:
    """Return the name of the type citext; skip the test where there is none."""
    if not tables.run("select 1 from pg_available_extensions where name = 'citext'"):
        pytest.skip("no citext on this server")
    tables.run(f"create extension if not exists citext schema {SCHEMA}")
    ((schema,),) = tables.run(
        "select extnamespace::regnamespace::text from pg_extension where extname = 'citext'"
    )
    return f"{schema}.citext"
