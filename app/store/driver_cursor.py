"""The driver's own cursor, with the same interface for both databases."""

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
    """Runs the statements of the hot path; `:name` is a parameter."""

    @property
    def rowcount(self) -> int:
        """The number of rows that the last call changed."""
        ...

    def execute(self, statement: str, values: Values = ..., /) -> Self:
        """Run a statement; values without a parameter are ignored."""
        ...

    def executemany(self, statement: str, values: Sequence[Values], /) -> Self:
        """Run a statement for each of the values, of which there may be none."""
        ...

    def fetchone(self) -> Any:
        """Return the next row; None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        ...


def open_cursor(connection: Connection) -> Cursor:
    """Open a cursor inside the connection's transaction."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return cast(Cursor, driver.cursor(_SqliteCursor))
    if isinstance(driver, psycopg.Connection):
        return _PostgresCursor(driver)
    raise TypeError(f"not a connection to SQLite or PostgreSQL: {type(driver).__name__}")


class _SqliteCursor(sqlite3.Cursor):
    def executemany(self, statement: str, values: Iterable[Values], /) -> Self:  # type: ignore[override]
        # By position: by name, the driver asks SQLite for each parameter's name for each row, and
        # storing an event takes a fifth longer.
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
            # psycopg uses pipeline mode: one round trip for all of them.
            self._cursor.executemany(_translate(statement), values[:-1])
            changed = self._cursor.rowcount
        if values:
            # After a pipeline, PostgreSQL does not enforce idle_in_transaction_session_timeout: a
            # replica that is paused then would keep its locks until it resumes.
            self.execute(statement, values[-1])
            self._changed_before = changed
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()


@cache
def _number(statement: str) -> tuple[str, Callable[[Values], tuple[Any, ...]]]:
    """Replace `:name` by `?1`, and return a function that picks the values in that order."""
    names = list(dict.fromkeys(re.findall(_PARAMETER, statement)))
    numbered = re.sub(_PARAMETER, lambda found: f"?{names.index(found[1]) + 1}", statement)
    if len(names) > 1:
        return numbered, itemgetter(*names)
    return numbered, lambda values: tuple(values[name] for name in names)


@cache
def _translate(statement: str) -> bytes:
    """Replace `:name` by psycopg's `%(name)s`."""
    return re.sub(_PARAMETER, r"%(\1)s", statement).encode()
