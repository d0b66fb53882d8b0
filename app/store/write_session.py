"""The connection of the writing thread."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

from app.store.driver_cursor import open_cursor
from app.store.engine import BUSY_MILLISECONDS

# No other connection writes to SQLite, so the cache stays valid. With 16 MiB, storing an event in a
# store of 40 MB read four pages.
_CACHE_KIBIBYTES: Final = 24 * 1024


class WriteSession:
    """One connection and the transactions on it.

    Attributes:
        connection: for statements in SQLAlchemy Core.
        cursor: the driver's own, for the statements of the hot path.
        is_shared: whether other relays write to the same database.
        used_at: when the last commit succeeded, on the monotonic clock.
        must_truncate: whether the write-ahead log may contain erased data.
    """

    def __init__(self, connection: Connection, *, must_truncate: bool) -> None:
        self.connection = connection
        self.cursor = open_cursor(connection)
        self.is_shared = connection.dialect.name != "sqlite"
        self.must_truncate = must_truncate and not self.is_shared
        self.used_at = time.monotonic()
        if not self.is_shared:
            connection.execution_options(has_begun=True)
            self.cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything together; after an exception, roll back.

        After an exception, close the connection.
        """
        if self.is_shared:
            with self.connection.begin():
                yield
            return
        # On the driver's cursor: through SQLAlchemy, beginning and committing takes 90 µs instead
        # of 10. Statements in Core join this transaction (`has_begun` in app.store.engine).
        self.cursor.execute("BEGIN IMMEDIATE")
        try:
            yield
            if self.connection.in_transaction():
                self.connection.commit()
            else:
                self.cursor.execute("COMMIT")
        except BaseException:
            # A connection that is closed with an open statement would keep its lock.
            self.connection.connection.rollback()
            raise

    def request_truncation(self) -> None:
        """Have the write-ahead log overwritten after the commit, because data was erased."""
        self.must_truncate = not self.is_shared

    def truncate_if_requested(self) -> None:
        """Empty the write-ahead log if requested; while a reader blocks it, leave it for later."""
        if self.must_truncate:
            # Events wait behind this, so it does not wait for readers. The next commit tries again.
            self.cursor.execute("PRAGMA busy_timeout = 0")
            is_busy, _, _ = self.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            self.must_truncate = bool(is_busy)
