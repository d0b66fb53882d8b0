"""The store: durable events and the desired state that they lead to.

The query modules of this package hold the queries; `Store` runs them in the right thread.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Self, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from app.domain.events import Event
from app.domain.failpoints import FailpointHook, noop
from app.domain.instants import Instant
from app.store.engine import open_engine
from app.store.group_commit import GroupCommit, perform
from app.store.postgres_receive import call_receive
from app.store.private_files import describe_exposure
from app.store.query_pool import QueryPool
from app.store.receive import Arrival, Receipt
from app.store.replicas import Replicas
from app.store.schema_upgrade import upgrade_schema
from app.store.store_lock import hold_store_lock
from app.store.store_url import is_shared, read_store_url
from app.store.write_session import WriteSession

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# For the dispatcher, which reads one batch at a time, and for senders that wait for their event.
_READ_THREADS: Final = 2
# For operators, whose queries read thousands of events and must not slow receiving down.
_SEARCH_THREADS: Final = 2
_SCAN_SECONDS: Final = 300

_UPSERT_HEARTBEAT: Final = """
INSERT INTO heartbeat (id, beaten_at) VALUES (1, :now)
ON CONFLICT (id) DO UPDATE SET beaten_at = excluded.beaten_at
"""


class Store:
    """One relay's store.

    Concurrent writes share one commit, and return after it. Queries see the last commit.

    Attributes:
        replicas: the other relays that share the store; None for SQLite.
    """

    def __init__(
        self, url: URL, engine: Engine, resources: ExitStack, *, hit: FailpointHook = noop
    ) -> None:
        self._resources = resources
        self._commits = GroupCommit(engine, perform, hit=hit)
        self._receives = self._commits
        if is_shared(url):
            self._receives = GroupCommit(engine, call_receive, commits_itself=True, hit=hit)
        self._reads = QueryPool(engine, "store-read", _READ_THREADS)
        self._searches = QueryPool(engine, "store-search", _SEARCH_THREADS, has_low_priority=True)
        self._scans = QueryPool(
            engine, "store-scan", 1, statement_seconds=_SCAN_SECONDS, has_low_priority=True
        )
        self.replicas = Replicas(url, engine) if is_shared(url) else None

    @classmethod
    async def open(cls, store_url: str, *, hit: FailpointHook = noop) -> Self:
        """Open the store and upgrade its schema.

        Raises:
            ConfigurationInvalid: it cannot be opened, is in use, or is of a newer version.
        """
        url = read_store_url(store_url)
        with ExitStack() as resources:
            resources.enter_context(hold_store_lock(url))
            engine = open_engine(url)
            resources.callback(engine.dispose)
            await asyncio.to_thread(upgrade_schema, engine)
            exposure = None if is_shared(url) else describe_exposure(Path(url.database or ""))
            if exposure is not None:
                logger.warning("%s", exposure)
            return cls(url, engine, resources.pop_all(), hit=hit)

    async def close(self) -> None:
        """Commit the waiting writes, then close every connection."""
        if self.replicas is not None:
            await self.replicas.close()
        await self._receives.close()
        if self._receives is not self._commits:
            await self._commits.close()
        for pool in (self._reads, self._searches, self._scans):
            pool.close()
        self._resources.close()

    @property
    def failure(self) -> str | None:
        """Why nothing can be committed; None while the store is writable."""
        return self._receives.failure or self._commits.failure

    @property
    def events_stored(self) -> int:
        """How many events this process has stored or recognised; it only rises."""
        return self._receives.events_stored

    @property
    def commit_seconds(self) -> float:
        """How long the current commit has been running; 0 without one."""
        return max(self._receives.commit_seconds, self._commits.commit_seconds)

    def store_events(
        self, events: Sequence[Event], received_at: Instant
    ) -> asyncio.Future[list[Receipt]]:
        """Store events and move their entities, all or nothing, in order.

        The future completes after the commit, or fails with StoreUnavailable; then nothing is
        stored.

        Raises:
            StoreUnavailable: the store is closed.
        """
        return self._receives.submit(Arrival(events, received_at))

    async def write_heartbeat(self, now: Instant) -> None:
        """Commit something small, to know that commits succeed.

        Raises:
            StoreUnavailable: they do not; `failure` says why.
        """

        def write(session: WriteSession) -> None:
            session.cursor.execute(_UPSERT_HEARTBEAT, {"now": now})

        await self.write(write)
        if self._receives is not self._commits:
            # While receiving counts as failed, no event is accepted that would end the failure.
            await self.store_events((), now)

    async def write(
        self,
        operation: Callable[Concatenate[WriteSession, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a write operation and return its result after the commit.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """

        def run(session: WriteSession) -> T:
            return operation(session, *args, **kwargs)

        return cast(T, await self._commits.submit(run))

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query that reads a bounded number of rows.

        Raises:
            StoreUnavailable: the database failed or did not respond in time.
        """
        return await self._reads.run(query, *args, **kwargs)

    async def search(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operator's query, at low priority.

        Raises:
            StoreUnavailable: the database failed or did not respond in time.
        """
        return await self._searches.run(query, *args, **kwargs)

    async def scan(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query that may read every event, at low priority and without haste.

        Raises:
            StoreUnavailable: the database failed or did not respond in time.
        """
        return await self._scans.run(query, *args, **kwargs)
