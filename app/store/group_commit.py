"""Group commit: one thread, one connection, one transaction and one fsync for all that waits."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Final, TypeVar, cast

from sqlalchemy import Engine

from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.store.checkpointing import Checkpointer
from app.store.engine import is_shared
from app.store.grouping import FRESH_SECONDS, GroupThread
from app.store.receiving import Arrival, store_arrivals
from app.store.watchdog import Watchdog
from app.store.write_session import WriteSession

T = TypeVar("T")

# Beyond this a group only waits longer for its commit: the fsync is already shared by all.
MAXIMUM_GROUP = 512
# How long one group may take before its connection is cut.
GROUP_SECONDS: Final = 15.0


Operation = Callable[[WriteSession], object]


class GroupCommit(GroupThread[Operation | Arrival]):
    """Runs write operations in groups, and stores what arrives, in the order of both."""

    def __init__(
        self, engine: Engine, *, watchdog: Watchdog | None = None, hit: FailpointHook = noop
    ) -> None:
        super().__init__("store-writer", maximum_weight=MAXIMUM_GROUP)
        self._engine = engine
        self._watchdog = watchdog
        self._hit = hit
        self._session: WriteSession | None = None
        self._checkpointer = None if is_shared(engine.url) else Checkpointer(engine)
        # The log that a killed process left may hold what was erased since it was written.
        self._must_truncate = True
        self.start()

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        await super().close()
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.close)

    async def run(self, operation: Callable[[WriteSession], T]) -> T:
        """Run one operation and return its result once it is durable.

        The operation may run several times, each but the last undone: when another of its group
        fails, or when the database has it wait for a neighbour that waits for it.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """
        return cast(T, await self.submit(operation))

    def commit(self, group: Sequence[Operation | Arrival]) -> list[object]:
        """Run all of it in one transaction."""
        session = self._open_session()
        with self._limit(session):
            if self._checkpointer is not None:
                self._checkpointer.finish(session.cursor)
            with session.transaction():
                results = list(_perform(session, group))
                self._hit(Failpoint.BEFORE_COMMIT)
            self._hit(Failpoint.AFTER_COMMIT)
            session.truncate_if_requested()
            if self._checkpointer is not None:
                self._checkpointer.tend(session.cursor)
            session.used_at = time.monotonic()
        return results

    def discard(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            self._must_truncate = session.must_truncate
            session.connection.invalidate()
            session.connection.close()

    def _limit(self, session: WriteSession) -> AbstractContextManager[None]:
        if self._watchdog is None:
            return nullcontext()
        return self._watchdog.limit(session.connection, GROUP_SECONDS)

    def _open_session(self) -> WriteSession:
        session = self._session
        if (
            session is not None
            and session.is_shared
            and time.monotonic() - session.used_at > FRESH_SECONDS
        ):
            # Back into the pool, which tries it before it hands it out again.
            session.connection.close()
            self._session = None
        if self._session is None:
            self._session = WriteSession(self._engine.connect(), must_truncate=self._must_truncate)
        return self._session


def _perform(session: WriteSession, group: Sequence[Operation | Arrival]) -> Iterator[object]:
    for is_arrival, together in groupby(group, lambda work: isinstance(work, Arrival)):
        if is_arrival:
            yield from store_arrivals(session, cast(Iterator[Arrival], together))
        else:
            for operation in cast(Iterator[Operation], together):
                yield operation(session)
