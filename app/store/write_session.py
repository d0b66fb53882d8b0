"""What an operation writes through."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

from app.store.cursors import open_cursor
from app.store.engine import BUSY_MILLISECONDS

# Nobody else writes, so that what is in the cache stays true. At 16 MiB, an event into a store of
# 40 MB read four pages.
_CACHE_KIBIBYTES: Final = 24 * 1024


class WriteSession:
    """One connection, inside the transaction of a group.

    Attributes:
        connection: for statements in SQLAlchemy Core.
        cursor: the driver's own, for statements that are compiled ahead.
        is_shared: whether others write to the same database.
        used_at: when a commit last succeeded, on the monotonic clock.
    """

    def __init__(self, connection: Connection, *, must_truncate: bool) -> None:
        self.connection = connection
        self.cursor = open_cursor(connection)
        self.is_shared = connection.dialect.name != "sqlite"
        self.must_truncate = must_truncate and not self.is_shared
        self.used_at = time.monotonic()
        if not self.is_shared:
            connection.execution_options(sqlite_begin=None)
            self.cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is written together; after an exception, nothing of it.

        Then the connection is to be closed.
        """
        if self.is_shared:
            with self.connection.begin():
                yield
            return
        # By SQLAlchemy, beginning and committing takes a group 90 µs and so 10 (in turn, by hand).
        # Statements in Core are run in the same transaction (`app.store.engine`).
        self.cursor.execute("BEGIN IMMEDIATE")
        try:
            yield
            if self.connection.in_transaction():
                self.connection.commit()
            else:
                self.cursor.execute("COMMIT")
        except BaseException:
            # Closed with a statement that is still open, the connection would keep its lock.
            self.connection.connection.rollback()
            raise

    def request_truncation(self) -> None:
        """Have the write-ahead log overwritten after the commit: something was erased."""
        self.must_truncate = not self.is_shared

    def truncate_if_requested(self) -> None:
        """Empty the write-ahead log if that is asked for and no reader stands in the way."""
        if self.must_truncate:
            # Without waiting for readers: events wait behind this. The next commit tries again.
            self.cursor.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            self.must_truncate = bool(busy)
