"""The real parts of a relay, driven batch by batch, with simulated crashes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx

from app.domain.clocks import Clocks
from app.domain.criteria import Criteria
from app.domain.entities import EntityKey, EntityRef, Kind, split_membership_key
from app.domain.errors import StoreUnavailable
from app.domain.events import Event
from app.domain.history import ReplayStatus, StoredEvent
from app.domain.instants import MICROSECONDS_PER_SECOND, from_seconds
from app.domain.retry import BACKOFF_LIMIT_SECONDS
from app.relay.dispatch import Dispatcher
from app.relay.outcome_notifier import OutcomeNotifier
from app.relay.replay import Replayer
from app.store import event_queries
from app.store.store import Store
from app.supabase.client import SupabaseClient
from tests.auth.issuer import Clock
from tests.histories import NOW

TABLES = {Kind.USER: "users", Kind.TRIP: "trips", Kind.MEMBERSHIP: "trip_memberships"}
KEY_COLUMNS = {
    Kind.USER: ("id",),
    Kind.TRIP: ("id",),
    Kind.MEMBERSHIP: ("trip_id", "user_id"),
}

Rows = dict[EntityRef, dict[str, str | None]]
"""The rows in Supabase, by entity."""


class Harness:
    """Receives, dispatches and replays on one store, which survives simulated crashes.

    Attributes:
        clock: of all of its parts.
        dispatcher: of the current process.
    """

    def __init__(self, store: Store, store_url: str, http: httpx.AsyncClient) -> None:
        self.clock = Clock(NOW / MICROSECONDS_PER_SECOND)
        self._store = store
        self._store_url = store_url
        self._http = http
        self._supabase = SupabaseClient(http, clock=self.clock)
        self.dispatcher = self._start_dispatcher()

    @classmethod
    async def open(cls, store_url: str, http: httpx.AsyncClient) -> "Harness":
        """Start on this store."""
        return cls(await Store.open(store_url), store_url, http)

    async def close(self) -> None:
        await self._store.close()

    async def receive(self, *events: Event) -> None:
        """Store events in one commit."""
        await self._store.store_events(events, from_seconds(self.clock()))

    async def replay(self, events: Sequence[Event]) -> None:
        """Replay the entities of these events."""
        replayer = Replayer(
            self._store, clocks=Clocks(self.clock), wake_dispatcher=self.dispatcher.wake
        )
        marking = asyncio.create_task(replayer.run())
        ids = tuple(event.event_id for event in events)
        replay = await replayer.replay(Criteria(event_ids=ids), requested_by=None)
        while replay.status is ReplayStatus.RUNNING:
            replay = await replayer.find(replay.replay_id)
        assert replay.status is ReplayStatus.COMPLETED
        marking.cancel()
        await asyncio.wait([marking])

    async def drain(self) -> None:
        """Dispatch until nothing is due."""
        while await self.dispatcher.dispatch_due():
            pass

    async def settle(self) -> None:
        """Dispatch until nothing is due, also after the longest waits have passed."""
        for _ in range(3):
            await self.drain()
            self.clock.advance(BACKOFF_LIMIT_SECONDS + 1)
        await self.drain()

    async def suffer(self, batches: int) -> None:
        """Dispatch this many times, longer than the longest backoff apart."""
        for _ in range(batches):
            await self.dispatcher.dispatch_due()
            self.clock.advance(BACKOFF_LIMIT_SECONDS + 1)

    async def dispatch_while(
        self, reached: Callable[[], Awaitable[None]], meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        """Dispatch a batch, and run `meanwhile` once `reached` completes or the batch ends."""
        running = asyncio.create_task(self.dispatcher.dispatch_due())
        reaching = asyncio.ensure_future(reached())
        await asyncio.wait({running, reaching}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await meanwhile()
            await running
        finally:
            running.cancel()
            reaching.cancel()
            await asyncio.gather(running, reaching, return_exceptions=True)

    async def die_when(self, reached: Callable[[], Awaitable[None]]) -> None:
        """Crash once `reached` completes during a batch: nothing more of it is recorded."""
        running = asyncio.create_task(self.dispatcher.dispatch_due())
        reaching = asyncio.ensure_future(reached())
        await asyncio.wait({running, reaching}, return_when=asyncio.FIRST_COMPLETED)
        # First the store, so that the cleanup of the dispatcher has no effect, as in a kill.
        await self._store.close()
        running.cancel()
        reaching.cancel()
        ending, _ = await asyncio.gather(running, reaching, return_exceptions=True)
        await self._start()
        if isinstance(ending, BaseException) and not isinstance(
            ending, asyncio.CancelledError | StoreUnavailable
        ):
            raise ending

    async def restart(self) -> None:
        """Crash between batches and start again."""
        await self._store.close()
        await self._start()

    async def find(self, events: Sequence[Event]) -> list[StoredEvent]:
        """Read the state of these events."""
        found = await self._store.read(
            event_queries.find_events, [event.event_id for event in events]
        )
        return [found[event.event_id] for event in events]

    async def _start(self) -> None:
        self._store = await Store.open(self._store_url)
        self.dispatcher = self._start_dispatcher()

    def _start_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self._store,
            self._supabase,
            OutcomeNotifier(),
            clocks=Clocks(self.clock, self.clock, lambda: 0.999),
        )


def find_rows_held(
    desired: dict[EntityRef, str | None], *, has_foreign_keys: bool
) -> dict[EntityRef, str]:
    """Return the desired rows that Supabase can hold: those whose parents exist."""
    return {
        ref: row
        for ref, row in desired.items()
        if row is not None and not (has_foreign_keys and is_orphan(ref, desired))
    }


def is_orphan(ref: EntityRef, desired: dict[EntityRef, str | None]) -> bool:
    """Return whether a membership has no desired trip or user."""
    return any(desired.get(parent) is None for parent in name_parents(ref))


def name_parents(ref: EntityRef) -> tuple[EntityRef, ...]:
    """Return the trip and the user of a membership; other entities have no parents."""
    if ref.kind is not Kind.MEMBERSHIP:
        return ()
    trip_id, user_id = split_membership_key(ref.key)
    return EntityRef(Kind.TRIP, EntityKey(trip_id)), EntityRef(Kind.USER, EntityKey(user_id))
