"""Group commit: one thread, one transaction and one fsync for all waiting writes."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine

from app.domain.degradation import Degradation
from app.domain.errors import StoreUnavailable
from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.store.batching_worker import BatchingWorker
from app.store.database_errors import (
    describe_failure,
    hide_values,
    is_conflict,
    is_store_failure,
)
from app.store.deadline import deadline
from app.store.engine import BUSY_MILLISECONDS
from app.store.receive import HAS_ERASED, Arrival, store_arrivals
from app.store.store_url import is_shared
from app.store.wal_checkpointer import WalCheckpointer

logger = logging.getLogger(__name__)

# Above this size a group only waits longer for its commit: the fsync is already shared.
MAXIMUM_GROUP: Final = 512
# Less than the callers wait.
_GROUP_SECONDS: Final = 10.0
# An idle connection goes back to the pool, which tests it before it is used again.
_FRESH_SECONDS: Final = 1.0
_TRIES: Final = 4
# No other connection writes to SQLite, so the cache stays valid. With 16 MiB, storing an event in a
# store of 40 MB read four pages.
_CACHE_KIBIBYTES: Final = 24 * 1024

Operation = Callable[[Connection], object]
Work = Operation | Arrival
Observe = Callable[[float], None]


def ignore(_: float) -> None:
    """Measure nothing."""


class GroupCommit:
    """Runs write operations and stores events in groups, each group in one transaction.

    Args:
        perform: does the work of a group and returns the results.
        commits_itself: whether `perform` is a single statement, which needs no transaction.
        observe: receives the duration of each successful commit in seconds, in the thread.

    Attributes:
        failure: why the last group could not be committed; None while the store is writable.
    """

    def __init__(
        self,
        engine: Engine,
        perform: Callable[[Connection, Sequence[Any]], Sequence[object]],
        *,
        commits_itself: bool = False,
        hit: FailpointHook = noop,
        monotonic: Callable[[], float] = time.monotonic,
        observe: Observe = ignore,
    ) -> None:
        self._engine = engine
        self._is_shared = is_shared(engine.url)
        self._perform = perform
        self._commits_itself = commits_itself
        self._hit = hit
        self._observe = observe
        self.failure: str | None = None
        self._outage = Degradation(logger, "the store commits again", monotonic=monotonic)
        self._connection: Connection | None = None
        self._checkpointer = None if self._is_shared else WalCheckpointer(engine)
        self._used_at = 0.0
        self._worker = BatchingWorker[Work](
            "store-writer",
            lambda group: self._commit_or_fail(group, _TRIES),
            maximum_size=MAXIMUM_GROUP,
        )

    @property
    def commit_seconds(self) -> float:
        """How long the current commit has been running; 0 without one."""
        return self._worker.busy_seconds

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Return a future of the work's result, which completes after its commit.

        It fails with StoreUnavailable if the work could not be committed; then none of it is
        stored. An operation may run several times, with all runs but the last rolled back: when
        another operation of its group fails, or when the transaction loses to another one.
        """
        return self._worker.submit(work, len(work.events) if isinstance(work, Arrival) else 1)

    async def close(self) -> None:
        """Commit the waiting work and close the connection."""
        await self._worker.close()
        self._drop_connection()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.close)

    def _commit_or_fail(self, group: Sequence[Work], tries: int) -> Sequence[object]:
        """Return a result or an exception for each work."""
        try:
            results = self._commit(group)
        except Exception as error:  # noqa: BLE001 - the callers receive it
            if is_conflict(error) and tries > 1:
                return self._commit_or_fail(group, tries - 1)
            self._drop_connection()
            if is_store_failure(error):
                self._note_failure(describe_failure(error))
                return [StoreUnavailable() for _ in group]
            if len(group) == 1:
                return [hide_values(error)]
            # One faulty operation does not affect the others.
            return [result for work in group for result in self._commit_or_fail([work], _TRIES)]
        self._note_failure(None)
        return results

    def _commit(self, group: Sequence[Work]) -> Sequence[object]:
        began_at = time.monotonic()
        connection = self._open_connection()
        with deadline(connection, _GROUP_SECONDS):
            if self._commits_itself:
                self._hit(Failpoint.BEFORE_COMMIT)
            with nullcontext() if self._commits_itself else connection.begin():
                results = self._perform(connection, group)
                if not self._commits_itself:
                    self._hit(Failpoint.BEFORE_COMMIT)
            self._hit(Failpoint.AFTER_COMMIT)
        self._observe(time.monotonic() - began_at)
        if connection.info.get(HAS_ERASED, False):
            self._truncate_log(connection)
        if self._checkpointer is not None:
            self._checkpointer.note_commit(connection)
        self._used_at = time.monotonic()
        return results

    def _open_connection(self) -> Connection:
        if self._is_shared and time.monotonic() - self._used_at > _FRESH_SECONDS:
            self._close_connection()
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._commits_itself:
                self._connection.execution_options(isolation_level="AUTOCOMMIT")
            elif not self._is_shared:
                self._connection.execution_options(is_exclusive=True)
                driver: Any = self._connection.connection
                driver.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
                # The log of a killed process, or of a failed commit, may contain erased data.
                self._connection.info[HAS_ERASED] = True
        return self._connection

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
        self._close_connection()

    def _truncate_log(self, connection: Connection) -> None:
        """Empty SQLite's write-ahead log; while a reader blocks it, leave it to the next commit."""
        # Events wait behind this, so it does not wait for readers.
        driver: Any = connection.connection
        driver.execute("PRAGMA busy_timeout = 0")
        is_busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.info[HAS_ERASED] = bool(is_busy)

    def _note_failure(self, failure: str | None) -> None:
        if failure is None:
            self._outage.end()
        else:
            message = f"the store cannot commit: {failure}"
            self._outage.note(message, cause=failure, level=logging.ERROR)
        self.failure = failure


def perform(connection: Connection, group: Sequence[Work]) -> list[object]:
    """Run operations and store events, in order."""
    results: list[object] = []
    for is_arrival, together in groupby(group, lambda work: isinstance(work, Arrival)):
        if is_arrival:
            results += store_arrivals(connection, cast(Iterator[Arrival], together))
        else:
            results += [operation(connection) for operation in cast(Iterator[Operation], together)]
    return results
