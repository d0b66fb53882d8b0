"""Group commit: one thread, one connection, one transaction and one fsync for all that waits."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.domain.errors import StoreUnavailable
from app.domain.failpoints import Failpoint, Reach, ignore
from app.store.engine import BUSY_MILLISECONDS

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Beyond this a group only waits longer for its commit: the fsync is already shared by all.
MAXIMUM_GROUP = 512


class WriteSession:
    """What an operation writes through, inside the transaction of its group.

    Attributes:
        connection: for statements in SQLAlchemy Core.
        cursor: the driver's own, for statements that are compiled ahead.
    """

    def __init__(self, connection: Connection, *, must_truncate: bool) -> None:
        self.connection = connection
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError("the store speaks SQLite")
        self.cursor = driver.cursor()
        self.must_truncate = must_truncate

    def request_truncation(self) -> None:
        """Have the write-ahead log overwritten after the commit: something was erased."""
        self.must_truncate = True

    def truncate_if_requested(self) -> None:
        """Empty the write-ahead log if that is asked for and no reader stands in the way."""
        if self.must_truncate:
            # Without waiting for readers: events wait behind this. The next commit tries again.
            self.cursor.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            self.must_truncate = bool(busy)


@dataclass(slots=True)
class _Waiting(Generic[T]):
    operation: Callable[[WriteSession], T]
    future: asyncio.Future[T]


_Outcome = tuple[_Waiting[object], object | None, BaseException | None]


class GroupCommit:
    """Runs write operations in groups; `run` returns after the commit that holds its result."""

    def __init__(self, engine: Engine, *, reach: Reach = ignore) -> None:
        self._engine = engine
        self._reach = reach
        self._queue: SimpleQueue[_Waiting[object] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._session: WriteSession | None = None
        # The log that a killed process left may hold what was erased since it was written.
        self._must_truncate = True
        self._failure: str | None = None
        self._closed = False
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the last group could not commit; None while the store is writable."""
        return self._failure

    async def run(self, operation: Callable[[WriteSession], T]) -> T:
        """Run one operation and return its result once it is durable.

        The operation may run twice, the first time undone, when another of its group fails.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """
        if self._closed:
            raise StoreUnavailable
        future: asyncio.Future[T] = self._loop.create_future()
        waiting: _Waiting[T] = _Waiting(operation, future)
        self._queue.put(waiting)  # type: ignore[arg-type]  # the queue holds any T
        return await future

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                self._answer(self._commit(group))
        self._discard_session()

    def _next_group(self) -> tuple[list[_Waiting[object]], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        while len(group) < MAXIMUM_GROUP:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
        return group, False

    def _commit(self, group: list[_Waiting[object]]) -> list[_Outcome]:
        try:
            session = self._open_session()
            with session.connection.begin():
                outcomes: list[_Outcome] = [
                    (waiting, waiting.operation(session), None) for waiting in group
                ]
                self._reach(Failpoint.BEFORE_COMMIT)
            self._reach(Failpoint.AFTER_COMMIT)
            session.truncate_if_requested()
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the answer
            if _is_store_failure(error):
                # Only what the driver says: SQLAlchemy also quotes the parameters, rows that is.
                self._failure = str(getattr(error, "orig", error))
                logger.error("the store cannot commit: %s", self._failure)
                self._discard_session()
                return [(waiting, None, StoreUnavailable()) for waiting in group]
            if len(group) == 1:
                return [(group[0], None, error)]
            # One operation's fault must not take its neighbours along.
            return [outcome for waiting in group for outcome in self._commit([waiting])]
        self._failure = None
        return outcomes

    def _open_session(self) -> WriteSession:
        if self._session is None:
            connection = self._engine.connect()
            self._session = WriteSession(
                connection.execution_options(sqlite_begin="IMMEDIATE"),
                must_truncate=self._must_truncate,
            )
        return self._session

    def _discard_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._must_truncate = session.must_truncate
            session.connection.invalidate()
            session.connection.close()

    def _answer(self, outcomes: list[_Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            logger.warning("the event loop ended before %d operations were answered", len(outcomes))


def _is_store_failure(error: Exception) -> bool:
    """Tell a store that cannot commit (full, locked, broken) from an operation's own fault."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (
        isinstance(cause, sqlite3.OperationalError | sqlite3.InternalError)
        or type(cause) is sqlite3.DatabaseError
    )


def _resolve(outcomes: list[_Outcome]) -> None:
    for waiting, result, error in outcomes:
        if waiting.future.done():
            continue
        if error is None:
            waiting.future.set_result(result)
        else:
            waiting.future.set_exception(error)
