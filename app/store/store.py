"""The store: durable events, and the desired state that they lead to."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.domain.criteria import Criteria
from app.domain.errors import StoreUnavailable
from app.domain.events import Event, EventId
from app.domain.failpoints import FailpointHook, noop
from app.domain.history import (
    Backlog,
    EventCursor,
    EventPage,
    Matches,
    Replay,
    ReplayId,
    ReplayPage,
    StoredEvent,
)
from app.domain.instants import Instant
from app.store import dispatch_queries, leasing, looking_up, replaying, retention, statements
from app.store.engine import (
    STATEMENT_SECONDS,
    hide_values,
    hold_lock,
    is_shared,
    open_engine,
    read_store_url,
)
from app.store.group_commit import GroupCommit
from app.store.inbox import Inbox
from app.store.migrating import migrate
from app.store.private_files import describe_exposure
from app.store.receiving import Arrival, Receipt
from app.store.replicas import Replicas
from app.store.signals import REPLAY, notify, write_settled
from app.store.watchdog import Watchdog
from app.store.write_session import WriteSession

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A look at every event, which only a replay and its dry run ask for.
_SCAN_SECONDS: Final = 300
# Finding what a replay is to mark can take a look at every event; 10 MB hold so many.
_TARGETS_AHEAD = 50_000
# The dispatcher reads one at a time, and so do those who wait for their event.
_READERS = 2
# For operators. They look at thousands of events at a time, which must not slow what comes in.
_LOOKERS = 2
_LOOKERS_NICENESS = 15


class Store:
    """One relay's store.

    What writes returns after its commit; everything that waits at the same moment shares one.
    What reads sees the last commit.

    Attributes:
        replicas: what relays that share the store tell each other; None where it has but one.
    """

    def __init__(
        self, url: URL, engine: Engine, resources: ExitStack, *, hit: FailpointHook = noop
    ) -> None:
        self._url = url
        self._engine = engine
        self._resources = resources
        self._watchdog: Watchdog | None = None
        self._inbox: Inbox | None = None
        if is_shared(url):
            self._watchdog = Watchdog()
            self._watchdog.try_before_use(engine)
            resources.callback(self._watchdog.close)
            self._inbox = Inbox(engine, self._watchdog, hit=hit)
        self._commits = GroupCommit(engine, watchdog=self._watchdog, hit=hit)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._lookers = ThreadPoolExecutor(
            _LOOKERS, thread_name_prefix="store-looker", initializer=_give_way
        )
        self.replicas: Replicas | None = None
        if is_shared(url):
            # A thread of its own: the lease must be renewed however long others read.
            apart = ThreadPoolExecutor(1, thread_name_prefix="store-replica")
            resources.callback(apart.shutdown)
            self.replicas = Replicas(url, partial(self._read_in, apart))
        self._events_stored = 0
        self._ahead: dict[int, replaying.Targets] = {}

    @classmethod
    async def open(cls, store_url: str, *, hit: FailpointHook = noop) -> Self:
        """Open the store and migrate it.

        Raises:
            ConfigurationInvalid: it cannot be opened, is in use, or is of a newer version.
        """
        url = read_store_url(store_url)
        with ExitStack() as resources:
            resources.enter_context(hold_lock(url))
            engine = open_engine(url)
            resources.callback(engine.dispose)
            await asyncio.to_thread(migrate, engine)
            exposure = None if is_shared(url) else describe_exposure(Path(url.database or ""))
            if exposure is not None:
                logger.warning("%s", exposure)
            return cls(url, engine, resources.pop_all(), hit=hit)

    async def close(self) -> None:
        """Commit what waits, then let go of the store."""
        if self.replicas is not None:
            await self.replicas.close()
        if self._inbox is not None:
            await self._inbox.close()
        await self._commits.close()
        self._readers.shutdown()
        self._lookers.shutdown()
        self._resources.close()

    @property
    def failure(self) -> str | None:
        """Why nothing can be committed; None while the store is writable."""
        if self._inbox is not None and self._inbox.failure is not None:
            return self._inbox.failure
        return self._commits.failure

    @property
    def events_stored(self) -> int:
        """How many events this process has stored or recognised; it only rises."""
        return self._events_stored

    @property
    def commit_seconds(self) -> float:
        """For how long the commit that is running has been running; 0 without one."""
        inbox_seconds = 0.0 if self._inbox is None else self._inbox.commit_seconds
        return max(self._commits.commit_seconds, inbox_seconds)

    async def begin_purge(self, now: Instant, retention_seconds: float) -> Instant | None:
        """Store how far to purge now and give it; None where no purge is due.

        Raises:
            StoreUnavailable: it could not be stored.
        """
        return await self._commits.run(
            partial(retention.advance_cutoff, now=now, retention_seconds=retention_seconds)
        )

    async def purge_events(
        self, before: Instant, limit: int, *, resume_after: EventCursor | None = None
    ) -> retention.PurgedChunk:
        """Consider the oldest `limit` events received before an instant; remove those not needed.

        Entities stay: they are the state. So do the events of those that are pending or dead.

        Raises:
            StoreUnavailable: none was removed.
        """
        return await self._commits.run(
            partial(retention.purge_chunk, before=before, limit=limit, resume_after=resume_after)
        )

    async def beat(self, now: Instant) -> None:
        """Commit something small, to know that commits succeed.

        Raises:
            StoreUnavailable: they do not; `failure` says why.
        """
        await self._commits.run(
            lambda session: session.cursor.execute(statements.BEAT, {"now": now})
        )
        if self._inbox is not None:
            # By the way that events take: while it counts as failed, none may be sent this way.
            await self._inbox.submit(Arrival((), now))

    async def store_events(self, events: Sequence[Event], received_at: Instant) -> list[Receipt]:
        """Store events and move their entities, all or nothing, in the order given.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """
        thread = self._inbox or self._commits
        work = Arrival(events, received_at)
        receipts = cast(list[Receipt], await thread.submit(work, len(events)))
        self._events_stored += len(receipts)
        return receipts

    def put_event(
        self, event: Event, received_at: Instant, settle: Callable[[Receipt | BaseException], None]
    ) -> None:
        """Store one event, and call `settle` with its receipt, or with why it is not stored.

        `settle` runs in the event loop. For who answers without a task of his own.

        Raises:
            StoreUnavailable: the store is closed.
        """

        def pass_on(receipts: object, error: BaseException | None) -> None:
            if error is not None:
                settle(error)
                return
            self._events_stored += 1
            (receipt,) = cast(list[Receipt], receipts)
            settle(receipt)

        (self._inbox or self._commits).put(Arrival((event,), received_at), pass_on)

    async def read_schedule(self, now: Instant) -> dispatch_queries.Schedule:
        """Read when there is something to do next."""
        return await self._read(partial(dispatch_queries.read_schedule, now=now))

    async def claim(
        self, now: Instant, wanted: dispatch_queries.Wanted
    ) -> dispatch_queries.Batch | None:
        """Claim the next batch without recording anything; None where nothing is due."""
        return await self._read(partial(dispatch_queries.claim, now=now, wanted=wanted))

    async def record_and_claim(
        self,
        now: Instant,
        outcomes: Sequence[dispatch_queries.Outcome],
        wanted: dispatch_queries.Wanted | None,
        *,
        token: int | None = None,
    ) -> dispatch_queries.Batch | None:
        """Record what became of a batch and claim the next, in one transaction.

        Raises:
            LeaseLost: the lease is not held under this token any more; nothing is recorded. The
                token is None for a store of one relay.
            StoreUnavailable: nothing is recorded. Recording the same again is harmless.
        """

        def run(session: WriteSession) -> dispatch_queries.Batch | None:
            leasing.require_lease(session, token)
            batch = dispatch_queries.record_and_claim(session, now, outcomes, wanted)
            _tell_settled(session, outcomes)
            return batch

        return await self._commits.run(run)

    async def correct_skew(self, now: Instant) -> int:
        """Make due what a clock that ran ahead has put off for too long, and count it."""
        return await self._commits.run(partial(dispatch_queries.correct_skew, now=now))

    async def find_event(self, event_id: EventId) -> StoredEvent | None:
        """Read one event and where its entity stands; None where no such event is stored."""
        found = await self.find_events([event_id])
        return found.get(event_id)

    async def find_events(self, event_ids: Sequence[EventId]) -> dict[EventId, StoredEvent]:
        """Read the events that are stored under these ids."""
        return await self._read(partial(replaying.find_events_by_ids, event_ids=event_ids))

    async def measure_backlog(self, now: Instant) -> Backlog:
        """Count what is still to be done, and name what keeps failing."""
        return await self._read(partial(looking_up.measure_backlog, now=now))

    async def read_event_page(
        self, criteria: Criteria, before: EventCursor | None, limit: int
    ) -> EventPage:
        """Read the events that meet the criteria, newest first, those before a position."""
        return await self._look(
            partial(looking_up.read_event_page, criteria=criteria, before=before, limit=limit)
        )

    async def count_matches(self, criteria: Criteria) -> Matches:
        """Count the events and entities that criteria other than ids meet."""
        return await self._look(
            partial(replaying.count_matches, criteria=criteria), statement_seconds=_SCAN_SECONDS
        )

    async def begin_replay(
        self,
        *,
        replay_id: ReplayId,
        criteria: Criteria,
        matches: Matches,
        requested_by: str | None,
        now: Instant,
    ) -> None:
        """Note who has what replayed, and when, before anything is marked."""

        def begin(session: WriteSession) -> None:
            replaying.begin_replay(
                session,
                replay_id=replay_id,
                criteria=criteria,
                matches=matches,
                requested_by=requested_by,
                now=now,
            )
            if session.is_shared:
                notify(session, REPLAY)

        await self._commits.run(begin)

    async def advance_replay(
        self, number: int, now: Instant, size: int, *, ahead_entities: int = _TARGETS_AHEAD
    ) -> bool:
        """Mark the next `size` entities of a replay; False when it is completed.

        They are looked for `ahead_entities` at a time.
        """
        ahead = self._ahead.pop(number, None)
        if ahead is None:
            ahead = await self._look(
                partial(replaying.find_targets, number=number, limit=ahead_entities),
                statement_seconds=_SCAN_SECONDS,
            )
        rest = replaying.Targets(ahead.refs[size:], ahead.is_end)
        next_ = replaying.Targets(ahead.refs[:size], is_end=ahead.is_end and not rest.refs)
        goes_on = await self._commits.run(
            partial(replaying.mark_targets, number=number, targets=next_, now=now)
        )
        if goes_on and rest.refs:
            self._ahead[number] = rest
        return goes_on

    async def fail_replay(self, number: int) -> None:
        """Give a replay up; what it has marked stays marked."""
        await self._commits.run(partial(replaying.fail_replay, number=number))

    async def find_running_replay(self) -> int | None:
        """Give the number of the first replay that is not completed; None without any."""
        return await self._read(replaying.find_running_replay)

    async def read_replay(self, replay_id: ReplayId) -> Replay | None:
        """Read one replay and what has come of it so far; None where there is no such."""
        return await self._look(partial(replaying.read_replay, replay_id=replay_id))

    async def read_replay_page(self, before: int | None, limit: int) -> ReplayPage:
        """Read replays, newest first, those before a number."""
        return await self._look(partial(replaying.read_replay_page, before=before, limit=limit))

    async def _read(self, query: Callable[[Connection], T], **options: int) -> T:
        return await self._read_in(self._readers, query, **options)

    async def _look(self, query: Callable[[Connection], T], **options: int) -> T:
        return await self._read_in(self._lookers, query, **options)

    async def _read_in(
        self, threads: ThreadPoolExecutor, query: Callable[[Connection], T], **options: int
    ) -> T:
        running = asyncio.get_running_loop().run_in_executor(
            threads, self._run_query, query, options
        )
        if self._watchdog is None:
            return await running
        # Also for those that wait behind others, each of which waits for a database that is away.
        seconds = options.get("statement_seconds", STATEMENT_SECONDS) * 2
        try:
            async with asyncio.timeout(seconds):
                return await running
        except TimeoutError as error:
            raise StoreUnavailable from error

    def _run_query(self, query: Callable[[Connection], T], options: dict[str, int]) -> T:
        try:
            with self._engine.connect() as plain, ExitStack() as limits:
                connection = plain.execution_options(**options)
                if self._watchdog is not None:
                    seconds = options.get("statement_seconds", STATEMENT_SECONDS) * 2
                    limits.enter_context(self._watchdog.limit(connection, seconds))
                result = query(connection)
                connection.commit()
                return result
        except (DBAPIError, PoolTimeoutError, psycopg.Error) as error:
            raise StoreUnavailable from hide_values(error)


def _tell_settled(session: WriteSession, outcomes: Sequence[dispatch_queries.Outcome]) -> None:
    if session.is_shared and outcomes:
        notify(session, write_settled(outcome.entity.ref for outcome in outcomes))


def _give_way() -> None:
    """Let the thread that calls this run when the others leave a processor alone; on Linux."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOOKERS_NICENESS)
