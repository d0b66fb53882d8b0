"""The store: durable events, and the desired state that they lead to."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.domain.criteria import Criteria
from app.domain.entities import Kind, PendingEntity
from app.domain.errors import StoreUnavailable
from app.domain.events import Event, EventId
from app.domain.failpoints import Reach, ignore
from app.domain.history import (
    Backlog,
    EventPage,
    Matches,
    Position,
    Replay,
    ReplayId,
    ReplayPage,
    StoredEvent,
)
from app.domain.instants import Instant
from app.store import dispatching, looking_up, receiving, replaying, statements
from app.store.engine import hold_lock, open_engine, read_store_url
from app.store.group_commit import GroupCommit
from app.store.migrating import migrate

T = TypeVar("T")

# Finding what a replay is to mark can take a look at every event; 10 MB hold so many.
_TARGETS_AHEAD = 50_000
# The dispatcher reads one at a time; the others are for people who look things up.
_READERS = 4


class Store:
    """One relay's store.

    What writes returns after its commit; everything that waits at the same moment shares one.
    What reads sees the last commit.
    """

    def __init__(self, engine: Engine, resources: ExitStack, *, reach: Reach = ignore) -> None:
        self._engine = engine
        self._resources = resources
        self._commits = GroupCommit(engine, reach=reach)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        self._events_stored = 0
        self._ahead: dict[int, replaying.Targets] = {}

    @classmethod
    async def open(cls, store_url: str, *, reach: Reach = ignore) -> Self:
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
            return cls(engine, resources.pop_all(), reach=reach)

    async def close(self) -> None:
        """Commit what waits, then let go of the file."""
        await self._commits.close()
        self._readers.shutdown()
        self._resources.close()

    @property
    def failure(self) -> str | None:
        """Why nothing can be committed; None while the store is writable."""
        return self._commits.failure

    @property
    def events_stored(self) -> int:
        """How many events this process has stored or recognised; it only rises."""
        return self._events_stored

    async def purge_events(self, before: Instant, limit: int) -> int:
        """Forget the oldest events that were received before an instant, and say how many.

        Their entities stay: they are the state.
        """
        values = {"before": before, "limit": limit}
        return await self._commits.run(
            lambda session: session.cursor.execute(statements.PURGE_EVENTS, values).rowcount
        )

    async def beat(self, now: Instant) -> None:
        """Commit something small, to know that commits succeed.

        Raises:
            StoreUnavailable: they do not; `failure` says why.
        """
        await self._commits.run(
            lambda session: session.cursor.execute(statements.BEAT, {"now": now})
        )

    async def store_events(
        self, events: Sequence[Event], received_at: Instant
    ) -> list[receiving.Receipt]:
        """Store events and move their entities, all or nothing, in the order given.

        Raises:
            StoreUnavailable: it could not be committed; nothing of it is stored.
        """
        receipts = await self._commits.run(
            partial(receiving.store_events, events=events, received_at=received_at)
        )
        self._events_stored += len(receipts)
        return receipts

    async def pick_pending(self, now: Instant, limit: int) -> list[PendingEntity]:
        """Read at most `limit` due entities: what takes access away first, then oldest first."""
        return await self._read(partial(dispatching.pick_pending, now=now, limit=limit))

    async def pick_contested(self, kind: Kind, limit: int) -> list[PendingEntity]:
        """Read pending entities that were refused a value which another row held, due or not."""
        return await self._read(partial(dispatching.pick_contested, kind=kind, limit=limit))

    async def read_next_due(self) -> Instant | None:
        """Read when there is something to do next; None without any."""
        return await self._read(dispatching.read_next_due)

    async def note_in_flight(self, entities: Sequence[PendingEntity], until: Instant) -> None:
        """Note that requests for these entities may land until then."""
        await self._commits.run(partial(dispatching.note_in_flight, entities=entities, until=until))

    async def forget_in_flight(self, entities: Sequence[PendingEntity], until: Instant) -> None:
        """Take that note back where it is certain what came of the request."""
        await self._commits.run(
            partial(dispatching.forget_in_flight, entities=entities, until=until)
        )

    async def end_flights(self, now: Instant) -> int:
        """Have what a late request may have undone written once more, and say how many."""
        return await self._commits.run(partial(dispatching.end_flights, now=now))

    async def record_outcomes(self, outcomes: Sequence[dispatching.Outcome], now: Instant) -> None:
        """Record what came of a batch, for the revisions that were picked."""
        await self._commits.run(partial(dispatching.record_outcomes, outcomes=outcomes, now=now))

    async def find_event(self, event_id: EventId) -> StoredEvent | None:
        """Read one event and where its entity stands; None where no such event is stored."""
        found = await self.find_events([event_id])
        return found.get(event_id)

    async def find_events(self, event_ids: Sequence[EventId]) -> dict[EventId, StoredEvent]:
        """Read the events that are stored under these ids."""
        return await self._read(partial(replaying.find_events_by_ids, event_ids=event_ids))

    async def measure_backlog(self) -> Backlog:
        """Count what is still to be done."""
        return await self._read(looking_up.measure_backlog)

    async def read_event_page(
        self, criteria: Criteria, before: Position | None, limit: int
    ) -> EventPage:
        """Read the events that meet the criteria, newest first, those before a position."""
        return await self._read(
            partial(looking_up.read_event_page, criteria=criteria, before=before, limit=limit)
        )

    async def count_matches(self, criteria: Criteria) -> Matches:
        """Count the events and entities that criteria other than ids meet."""
        return await self._read(partial(replaying.count_matches, criteria=criteria))

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
        await self._commits.run(
            partial(
                replaying.begin_replay,
                replay_id=replay_id,
                criteria=criteria,
                matches=matches,
                requested_by=requested_by,
                now=now,
            )
        )

    async def advance_replay(
        self, number: int, now: Instant, size: int, *, ahead_entities: int = _TARGETS_AHEAD
    ) -> bool:
        """Mark the next `size` entities of a replay; False when it is completed.

        They are looked for `ahead_entities` at a time.
        """
        ahead = self._ahead.pop(number, None)
        if ahead is None:
            ahead = await self._read(
                partial(replaying.find_targets, number=number, limit=ahead_entities)
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
        return await self._read(partial(replaying.read_replay, replay_id=replay_id))

    async def read_replay_page(self, before: int | None, limit: int) -> ReplayPage:
        """Read replays, newest first, those before a number."""
        return await self._read(partial(replaying.read_replay_page, before=before, limit=limit))

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self._run_query, query
        )

    def _run_query(self, query: Callable[[Connection], T]) -> T:
        try:
            with self._engine.connect() as connection:
                return query(connection)
        except DBAPIError as error:
            raise StoreUnavailable from error
