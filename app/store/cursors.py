"""The driver's own cursor, alike for both databases: named parameters, and nothing in between."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, Protocol, Self, cast

import psycopg
from sqlalchemy import Connection

Values = Mapping[str, Any]

_PARAMETER: Final = r"(?<!:):(\w+)"


class Cursor(Protocol):
    """What the statements in `app.store.statements` are run with; `:name` is a parameter."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed; of several runs, of all of them."""
        ...

    def execute(self, statement: str, values: Values = ..., /) -> Self:
        """Run a statement; values that it does not name are ignored."""
        ...

    def executemany(self, statement: str, values: Sequence[Values], /) -> Self:
        """Run a statement for each; none are fine."""
        ...

    def fetchone(self) -> Any:
        """Give the next row; None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Give the rows that are left."""
        ...


def open_cursor(connection: Connection) -> Cursor:
    """Open one inside the connection's transaction."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return cast(Cursor, driver.cursor(_SqliteCursor))
    if isinstance(driver, psycopg.Connection):
        return _PostgresCursor(driver)
    raise TypeError("the store speaks SQLite and PostgreSQL")


class _SqliteCursor(sqlite3.Cursor):
    def executemany(self, statement: str, values: Iterable[Values], /) -> Self:  # type: ignore[override]
        # By name, the driver asks SQLite for the name of each parameter, for each row: storing an
        # event's two rows took 21 to 23 µs, and takes 16 to 19 so (groups of 16 and 32, in turn).
        numbered, pick = _number(statement)
        return super().executemany(numbered, map(pick, values))


class _PostgresCursor:
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._cursor = connection.cursor()
        self._changed_before = 0

    @property
    def rowcount(self) -> int:
        return self._changed_before + self._cursor.rowcount

    def execute(self, statement: str, values: Values | None = None, /) -> Self:
        self._changed_before = 0
        self._cursor.execute(_translate(statement), values)
        return self

    def executemany(self, statement: str, values: Sequence[Values], /) -> Self:
        changed = 0
        if len(values) > 1:
            # In pipeline mode, by psycopg: one round trip for all of them.
            self._cursor.executemany(_translate(statement), values[:-1])
            changed = self._cursor.rowcount
        if values:
            # After a pipeline, PostgreSQL does not enforce idle_in_transaction_session_timeout: a
            # replica paused then would hold its locks until it goes on.
            self.execute(statement, values[-1])
            self._changed_before = changed
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()


@cache
def _number(statement: str) -> tuple[str, Callable[[Values], tuple[Any, ...]]]:
    """Write `:name` as `?1`, with who picks the values in that order."""
    names = list(dict.fromkeys(re.findall(_PARAMETER, statement)))
    numbered = re.sub(_PARAMETER, lambda found: f"?{names.index(found[1]) + 1}", statement)
    if len(names) > 1:
        return numbered, itemgetter(*names)
    return numbered, lambda values: tuple(values[name] for name in names)


@cache
def _translate(statement: str) -> bytes:
    """Write `:name` as psycopg wants it."""
    return re.sub(_PARAMETER, r"%(\1)s", statement).encode()
