"""What an operation writes through."""

import time
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
            self.cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")

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
