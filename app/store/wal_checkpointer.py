"""Copies SQLite's write-ahead log back into the database, in a thread of its own.

By itself SQLite copies the log in the commit that finds it long, and every caller of that commit
waits. It still does, for the little that this thread has left.

Source: https://www.sqlite.org/wal.html#checkpointing
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.domain.degradation import Degradation
from app.store.database_errors import describe_failure

logger = logging.getLogger(__name__)

# A changed row takes one to two pages of the log. With a longer log, pages that change often are
# copied more rarely, and commits wait longer for the fsync of the copy.
CHANGED_ROWS: Final = 4000


class WalCheckpointer:
    """Copies the log once enough rows have changed since the last copy."""

    def __init__(self, engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._failures = Degradation(
            logger, "the write-ahead log is copied again", monotonic=monotonic
        )
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="store-checkpointer")
        self._changes_before = 0

    def note_commit(self, connection: Connection) -> None:
        """Begin a copy if it is due."""
        driver: Any = connection.connection.driver_connection
        # Below 0, the connection is new and counts from 0.
        if not 0 <= driver.total_changes - self._changes_before < CHANGED_ROWS:
            self._changes_before = driver.total_changes
            self._threads.submit(self._copy)

    def close(self) -> None:
        """End the thread. SQLite copies the log when the last connection is closed."""
        self._threads.shutdown()

    def _copy(self) -> None:
        try:
            with closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, DBAPIError) as error:
            # The log grows until the next copy.
            reason = describe_failure(error)
            message = f"the write-ahead log could not be copied: {reason}"
            self._failures.note(message, cause=reason)
        else:
            self._failures.end()
