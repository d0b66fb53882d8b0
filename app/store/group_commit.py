"""Group commit: one thread, one connection, one transaction and one fsync for all that waits."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeVar, cast

from sqlalchemy import Connection, Engine, text

from app.domain.errors import StoreUnavailable
from app.domain.failpoints import Failpoint, Reach, ignore
from app.store.cursors import open_cursor
from app.store.engine import (
    BUSY_MILLISECONDS,
    describe_failure,
    hide_values,
    is_store_failure,
    may_succeed_at_once,
)
from app.store.grouping import GroupThread, Outcome, Waiting
from app.store.watchdog import Watchdog

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Beyond this a group only waits longer for its commit: the fsync is already shared by all.
MAXIMUM_GROUP = 512
# How long one group may take before its connection is cut.
GROUP_SECONDS: Final = 15.0
_TRIES: Final = 4
# A connection that has not been used for so long is tried before it is trusted.
_FRESH_SECONDS: Final = 1.0
_TRY_SECONDS: Final = 3.0


class WriteSession:
    """What an operation writes through, inside the transaction of its group.

    Attributes:
        connection: for statements in SQLAlchemy Core.
        cursor: the driver's own, for statements that are compiled ahead.
    """

    def __init__(self, connection: Connection, *, must_truncate: bool) -> None:
        self.connection = connection
        self.cursor = open_cursor(connection)
        self.is_shared = connection.dialect.name != "sqlite"
        self.must_truncate = must_truncate and not self.is_shared
        self.used_at = time.monotonic()

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


Operation = Callable[[WriteSession], object]


class GroupCommit(GroupThread[Operation]):
    """Runs write operations in groups; `run` returns after the commit that holds its result."""

    def __init__(
        self, engine: Engine, *, watchdog: Watchdog | None = None, reach: Reach = ignore
    ) -> None:
        super().__init__("store-writer", maximum_weight=MAXIMUM_GROUP)
        self._engine = engine
        self._watchdog = watchdog
        self._reach = reach
        self._session: WriteSession | None = None
        # The log that a killed process left may hold what was erased since it was written.
        self._must_truncate = True
        self._failure: str | None = None
        self.start()

    @property
    def failure(self) -> str | None:
        """Why the last group could not commit; None while the store is writable."""
        return self._failure

    async def run(self, operation: Callable[[WriteSession], T]) -> T:
        """Run one operation and return its result once it is durable.

        The operation may run several times, each but the last undone: when another of its group
        fails, or when the database has it wait for a neighbour that waits for it.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """
        return cast(T, await self.submit(operation))

    def handle(self, group: Sequence[Waiting[Operation]]) -> list[Outcome[Operation]]:
        """Commit all of it, or as much as can be."""
        return self._commit(group, _TRIES)

    def end(self) -> None:
        """Close the connection."""
        self._discard_session()

    def _commit(self, group: Sequence[Waiting[Operation]], tries: int) -> list[Outcome[Operation]]:
        try:
            outcomes = self._commit_once(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the answer
            if may_succeed_at_once(error) and tries > 1:
                return self._commit(group, tries - 1)
            if is_store_failure(error):
                self._failure = describe_failure(error)
                logger.error("the store cannot commit: %s", self._failure)
                self._discard_session()
                return [(waiting, None, StoreUnavailable()) for waiting in group]
            if len(group) == 1:
                return [(group[0], None, hide_values(error))]
            # One operation's fault must not take its neighbours along.
            return [outcome for waiting in group for outcome in self._commit([waiting], _TRIES)]
        self._failure = None
        return outcomes

    def _commit_once(self, group: Sequence[Waiting[Operation]]) -> list[Outcome[Operation]]:
        session = self._open_session()
        with self._limit(session, GROUP_SECONDS):
            return self._transact(session, group)

    def _limit(self, session: WriteSession, seconds: float) -> AbstractContextManager[None]:
        if self._watchdog is None:
            return nullcontext()
        return self._watchdog.limit(session.connection, seconds)

    def _transact(
        self, session: WriteSession, group: Sequence[Waiting[Operation]]
    ) -> list[Outcome[Operation]]:
        with session.connection.begin():
            outcomes: list[Outcome[Operation]] = [
                (waiting, waiting.work(session), None) for waiting in group
            ]
            self._reach(Failpoint.BEFORE_COMMIT)
        self._reach(Failpoint.AFTER_COMMIT)
        session.truncate_if_requested()
        session.used_at = time.monotonic()
        return outcomes

    def _open_session(self) -> WriteSession:
        session = self._session
        if session is not None and not self._is_alive(session):
            self._discard_session()
        if self._session is None:
            connection = self._engine.connect()
            self._session = WriteSession(
                connection.execution_options(sqlite_begin="IMMEDIATE"),
                must_truncate=self._must_truncate,
            )
        return self._session

    def _is_alive(self, session: WriteSession) -> bool:
        """Find out whether a server has closed the connection while nobody used it."""
        if not session.is_shared or time.monotonic() - session.used_at < _FRESH_SECONDS:
            return True
        try:
            with self._limit(session, _TRY_SECONDS), session.connection.begin():
                session.connection.execute(text("SELECT 1"))
        except Exception as error:  # noqa: BLE001 - a new connection will tell
            logger.info("the store's connection has ended (%s)", type(error).__name__)
            return False
        return True

    def _discard_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._must_truncate = session.must_truncate
            session.connection.invalidate()
            session.connection.close()
