"""Temporary databases: sorted data that may be larger than the memory."""

import sqlite3
from types import TracebackType
from typing import Final, Self

_CACHE_KIBIBYTES: Final = 65_536
# SQLite creates a file for an empty name and removes it from its folder at once: nobody else can
# read it, and nothing is left of it.
_TEMPORARY: Final = ""


class TemporaryDatabase:
    """A SQLite database that ends with its block."""

    def __init__(self, schema: str) -> None:
        self.connection = sqlite3.connect(_TEMPORARY)
        self.connection.execute("pragma journal_mode = off")
        self.connection.execute(f"pragma cache_size = -{_CACHE_KIBIBYTES}")
        self.connection.executescript(schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.connection.close()

    def count(self, query: str, *values: object) -> int:
        """Return the number that a query gives."""
        return int(self.connection.execute(query, values).fetchone()[0])
