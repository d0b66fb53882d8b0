"""Group commit: one thread, one transaction and one fsync for all waiting writes."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, cast

from sqlalchemy import Engine

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
from app.store.receive import Arrival, store_arrivals
from app.store.store_url import is_shared
from app.store.wal_checkpointer import WalCheckpointer
from app.store.write_session import WriteSession

logger = logging.getLogger(__name__)

# Above this size a group only waits longer for its commit: the fsync is already shared.
MAXIMUM_GROUP: Final = 512
# Less than the callers wait.
_GROUP_SECONDS: Final = 10.0
# An idle connection goes back to the pool, which tests it before it is used again.
_FRESH_SECONDS: Final = 1.0
_TRIES: Final = 4

Operation = Callable[[WriteSession], object]
Work = Operation | Arrival


class GroupCommit:
    """Runs write operations and stores events in groups, each group in one transaction.

    Args:
        engine: of the store.
        perform: does the work of a group and returns the results.
        commits_itself: whether `perform` is a single statement, which needs no transaction.
        hit: failpoints.

    Attributes:
        failure: why the last group could not be committed; None while the store is writable.
        events_stored: how many events this process has stored or recognised; it only rises.
    """

    def __init__(
        self,
        engine: Engine,
        perform: Callable[[WriteSession, Sequence[Any]], Sequence[object]],
        *,
        commits_itself: bool = False,
        hit: FailpointHook = noop,
    ) -> None:
        self._perform = perform
        self._commits_itself = commits_itself
        self.failure: str | None = None
        self.events_stored = 0
        self._engine = engine
        self._hit = hit
        self._session: WriteSession | None = None
        self._checkpointer = None if is_shared(engine.url) else WalCheckpointer(engine)
        # The log of a killed process may contain data that was erased since.
        self._must_truncate = True
        self._worker = BatchingWorker[Work](
            "store-writer", self._process, maximum_size=MAXIMUM_GROUP
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

        Raises:
            StoreUnavailable: the store is closed.
        """
        return self._worker.submit(work, len(work.events) if isinstance(work, Arrival) else 1)

    async def close(self) -> None:
        """Commit the waiting work and close the connection."""
        await self._worker.close()
        self._reset_connection()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.close)

    def _process(self, group: Sequence[Work]) -> Sequence[object]:
        return self._commit_or_fail(group, _TRIES)

    def _commit_or_fail(self, group: Sequence[Work], tries: int) -> Sequence[object]:
        """Return a result or an exception for each work."""
        try:
            results = self._commit(group)
        except Exception as error:  # noqa: BLE001 - the callers receive it
            if is_conflict(error) and tries > 1:
                return self._commit_or_fail(group, tries - 1)
            self._reset_connection()
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
        session = self._open_session()
        with deadline(session.connection, _GROUP_SECONDS):
            if self._commits_itself:
                self._hit(Failpoint.BEFORE_COMMIT)
                results = self._perform(session, group)
            else:
                if self._checkpointer is not None:
                    self._checkpointer.restart_log(session.cursor)
                with session.transaction():
                    results = self._perform(session, group)
                    self._hit(Failpoint.BEFORE_COMMIT)
            self._hit(Failpoint.AFTER_COMMIT)
            session.truncate_if_requested()
            if self._checkpointer is not None:
                self._checkpointer.request_if_due(session.cursor)
            session.used_at = time.monotonic()
        self.events_stored += sum(len(work.events) for work in group if isinstance(work, Arrival))
        return results

    def _open_session(self) -> WriteSession:
        session = self._session
        if (
            session is not None
            and session.is_shared
            and time.monotonic() - session.used_at > _FRESH_SECONDS
        ):
            session.connection.close()
            self._session = None
        if self._session is None:
            connection = self._engine.connect()
            if self._commits_itself:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            self._session = WriteSession(connection, must_truncate=self._must_truncate)
        return self._session

    def _reset_connection(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._must_truncate = session.must_truncate
            session.connection.invalidate()
            session.connection.close()

    def _note_failure(self, failure: str | None) -> None:
        # Logged when it begins and ends: meanwhile every commit fails.
        if failure is not None and failure != self.failure:
            logger.error("the store cannot commit: %s", failure)
        if failure is None and self.failure is not None:
            logger.info("the store commits again")
        self.failure = failure


def perform(session: WriteSession, group: Sequence[Work]) -> list[object]:
    """Run operations and store events, in order."""
    results: list[object] = []
    for is_arrival, together in groupby(group, lambda work: isinstance(work, Arrival)):
        if is_arrival:
            results += store_arrivals(session, cast(Iterator[Arrival], together))
        else:
            results += [operation(session) for operation in cast(Iterator[Operation], together)]
    return results
