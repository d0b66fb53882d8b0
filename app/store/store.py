"""The store: durable events and the desired state that they lead to.

The query modules of this package hold the queries; `Store` runs them in the right thread.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Self, TypeVar, cast

from sqlalchemy import Connection, Engine, text

from app.domain.events import Event
from app.domain.failpoints import FailpointHook, noop
from app.domain.instants import Instant
from app.store.engine import open_engine
from app.store.group_commit import GroupCommit, Observe, ignore, perform
from app.store.postgres_receive import call_receive
from app.store.private_files import describe_exposure
from app.store.query_pool import QueryPool
from app.store.receive import Arrival, Receipt
from app.store.replicas import Replicas
from app.store.schema_upgrade import upgrade_schema
from app.store.snapshot import Snapshot
from app.store.store_lock import hold_store_lock
from app.store.store_url import is_shared, read_store_url

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# For the dispatcher, which reads one batch at a time, and for senders that wait for their event.
_READ_THREADS: Final = 2
# For operators, whose queries read thousands of events and must not slow receiving down.
_SEARCH_THREADS: Final = 2
_SCAN_SECONDS: Final = 300

_UPSERT_HEARTBEAT: Final = text("""
INSERT INTO heartbeat (id, beaten_at) VALUES (1, :now)
ON CONFLICT (id) DO UPDATE SET beaten_at = excluded.beaten_at
""")


class Store:
    """One relay's store.

    Concurrent writes share one commit, and return after it. Queries see the last commit. Everything
    raises StoreUnavailable if the database fails, does not respond in time, or is closed.

    Attributes:
        read: runs a query that reads a bounded number of rows.
        search: runs an operator's query, at low priority.
        scan: runs a query that may read every event, at low priority and without haste.
        replicas: the other relays that share the store; None for SQLite.
        events_received: how many events this process was given to store; it only rises.
    """

    def __init__(
        self, engine: Engine, resources: ExitStack, hit: FailpointHook, observe_commit: Observe
    ) -> None:
        self._resources = resources
        self._engine = engine
        self.events_received = 0
        self._commits = GroupCommit(engine, perform, hit=hit, observe=observe_commit)
        self._receives = self._commits
        if is_shared(engine.url):
            self._receives = GroupCommit(
                engine, call_receive, commits_itself=True, hit=hit, observe=observe_commit
            )
        self.read = QueryPool(engine, "store-read", _READ_THREADS)
        self.search = QueryPool(engine, "store-search", _SEARCH_THREADS, has_low_priority=True)
        self.scan = QueryPool(
            engine, "store-scan", 1, statement_seconds=_SCAN_SECONDS, has_low_priority=True
        )
        self.replicas = Replicas(engine) if is_shared(engine.url) else None

    @classmethod
    async def open(
        cls, store_url: str, *, hit: FailpointHook = noop, observe_commit: Observe = ignore
    ) -> Self:
        """Open the store and upgrade its schema.

        Args:
            hit: called at each named failpoint.
            observe_commit: receives the duration of each successful commit in seconds, in a thread.

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
            return cls(engine, resources.pop_all(), hit, observe_commit)

    async def close(self) -> None:
        """Commit the waiting writes, then close every connection."""
        if self.replicas is not None:
            await self.replicas.close()
        await self._receives.close()
        if self._receives is not self._commits:
            await self._commits.close()
        for pool in (self.read, self.search, self.scan):
            pool.close()
        self._resources.close()

    @property
    def failure(self) -> str | None:
        """Why nothing can be committed; None while the store is writable."""
        return self._receives.failure or self._commits.failure

    @property
    def commit_seconds(self) -> float:
        """How long the current commit has been running; 0 without one."""
        return max(self._receives.commit_seconds, self._commits.commit_seconds)

    def store_events(
        self, events: Sequence[Event], received_at: Instant, trace: str | None = None
    ) -> asyncio.Future[list[Receipt]]:
        """Store events and move their entities, all or nothing, in order.

        The future completes after the commit, or fails with StoreUnavailable; then nothing is
        stored.

        Args:
            events: of one request.
            received_at: the present.
            trace: the ids of the request (`domain.traces`); None if the sender gave none.
        """
        self.events_received += len(events)
        return self._receives.submit(Arrival(events, received_at, trace))

    async def write_heartbeat(self, now: Instant) -> None:
        """Commit something small, to know that commits succeed; if not, `failure` says why."""
        await self.write(Connection.execute, _UPSERT_HEARTBEAT, {"now": now})
        if self._receives is not self._commits:
            # While receiving counts as failed, no event is accepted that would end the failure.
            await self.store_events((), now)

    async def write(
        self, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a write operation, all or nothing, and return its result after the commit."""

        def run(connection: Connection) -> T:
            return operation(connection, *args, **kwargs)

        return cast(T, await self._commits.submit(run))

    def open_snapshot(self) -> Snapshot:
        """Open a read transaction of several queries, for a `with` block."""
        return Snapshot(self._engine)
