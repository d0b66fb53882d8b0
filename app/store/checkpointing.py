"""Copying the write-ahead log of a SQLite store back into its database, beside what is written.

SQLite itself has it done by the commit that finds the log long, and everybody who waits for that
commit waits for the copying too. Here a thread copies nearly all of it while events come in; what
is left to who writes is what came meanwhile, after which the log begins anew in its place.

Source: https://www.sqlite.org/wal.html#checkpointing
"""

import logging
import sqlite3
import threading
from contextlib import closing
from typing import Final, cast

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.store.cursors import Cursor
from app.store.engine import describe_failure

logger = logging.getLogger(__name__)

# Rows that were changed since the log was last copied; a row takes one to two pages of it. The
# longer the log, the seldomer a page is copied that changes again and again, and the longer a
# commit's fsync waits behind that of the copy (docs/decisions/0002-the-store.md has figures).
CHANGES: Final = 4000
# So few pages hold a commit up for no longer than its own fsync does.
_FEW_PAGES: Final = 200
_PASSES: Final = 5

_COPY: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpointer:
    """Copies the log when it is long.

    Args:
        engine: of the store.
        changes: of how many rows make it long.
    """

    def __init__(self, engine: Engine, *, changes: int = CHANGES) -> None:
        self._engine = engine
        self._changes = changes
        self._changes_before = 0
        self._wanted = threading.Event()
        self._copied = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-checkpointer", daemon=True)
        self._thread.start()

    def finish(self, writer: Cursor) -> None:
        """Copy what is left of a log that was long; before a transaction, by who will write.

        There may be nothing left. After the transaction, there would always be what it wrote.
        """
        if self._copied.is_set():
            self._copied.clear()
            writer.execute(_COPY).fetchone()

    def tend(self, writer: Cursor) -> None:
        """Have the log copied if it is long; after a commit, by who has written."""
        (changes,) = writer.execute("SELECT total_changes()").fetchone()
        if not 0 <= changes - self._changes_before < self._changes:
            # Below 0: another connection, which counts from the beginning.
            self._changes_before = changes
            self._wanted.set()

    def close(self) -> None:
        """End the thread; the last connection that is closed copies what is left."""
        self._closed = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closed:
                return
            try:
                self._copy()
            except (sqlite3.Error, DBAPIError) as error:
                # The log goes on to grow, and SQLite's own limit is behind it.
                logger.warning(
                    "the write-ahead log could not be copied: %s", describe_failure(error)
                )
            else:
                self._copied.set()

    def _copy(self) -> None:
        with closing(self._engine.raw_connection()) as pooled:
            connection = cast(sqlite3.Connection, pooled.driver_connection)
            before = 0
            for _ in range(_PASSES):
                _, _, copied = connection.execute(_COPY).fetchone()
                if copied - before < _FEW_PAGES:
                    break
                before = copied
