"""Copies SQLite's write-ahead log back into the database, in a thread of its own.

By itself SQLite copies the log in the commit that finds it long, and every caller of that commit
waits. Here a thread copies nearly all of it while events arrive; the writer copies only the pages
added meanwhile, after which SQLite restarts the log from its beginning.

Source: https://www.sqlite.org/wal.html#checkpointing
"""

import logging
import sqlite3
import threading
from contextlib import closing
from typing import Final, cast

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.store.database_errors import describe_failure
from app.store.driver_cursor import Cursor

logger = logging.getLogger(__name__)

# A changed row takes one to two pages of the log. With a longer log, pages that change often are
# copied more rarely, and commits wait longer for the fsync of the copy.
CHANGED_ROWS: Final = 4000
# Copying fewer pages takes no longer than the fsync of a commit.
_FEW_PAGES: Final = 200
_PASSES: Final = 5

_COPY: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class WalCheckpointer:
    """Copies the log once `changed_rows` rows have changed since the last copy."""

    def __init__(self, engine: Engine, *, changed_rows: int = CHANGED_ROWS) -> None:
        self._engine = engine
        self._changed_rows = changed_rows
        self._changes_before = 0
        self._is_requested = threading.Event()
        self._is_copied = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="store-checkpointer", daemon=True)
        self._thread.start()

    def restart_log(self, writer: Cursor) -> None:
        """Copy the rest of a log that the thread has copied. Call it before a transaction.

        After a transaction, the log would always contain that transaction.
        """
        if self._is_copied.is_set():
            self._is_copied.clear()
            writer.execute(_COPY).fetchone()

    def request_if_due(self, writer: Cursor) -> None:
        """Request a copy if enough rows have changed. Call it after a commit."""
        (changes,) = writer.execute("SELECT total_changes()").fetchone()
        if not 0 <= changes - self._changes_before < self._changed_rows:
            # Below 0, the connection is new and counts from 0.
            self._changes_before = changes
            self._is_requested.set()

    def close(self) -> None:
        """End the thread. SQLite copies the log when the last connection is closed."""
        self._is_closed = True
        self._is_requested.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._is_requested.wait()
            self._is_requested.clear()
            if self._is_closed:
                return
            try:
                self._copy()
            except (sqlite3.Error, DBAPIError) as error:
                # The log grows until the next copy, or SQLite's own limit.
                logger.warning(
                    "the write-ahead log could not be copied: %s", describe_failure(error)
                )
            else:
                self._is_copied.set()

    def _copy(self) -> None:
        with closing(self._engine.raw_connection()) as pooled:
            connection = cast(sqlite3.Connection, pooled.driver_connection)
            before = 0
            for _ in range(_PASSES):
                _, _, copied = connection.execute(_COPY).fetchone()
                if copied - before < _FEW_PAGES:
                    break
                before = copied
