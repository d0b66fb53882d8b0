"""A dispatcher on a real store, with Supabase faked at the wire, driven by the test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import httpx

from app.domain.clocks import Clocks
from app.domain.entities import EntityKey, EntityRef, EventStatus, Kind
from app.domain.events import Event
from app.domain.history import EntityView
from app.domain.instants import MICROSECONDS_PER_SECOND, from_seconds
from app.relay.dispatch import Dispatcher
from app.relay.health import Health, HealthReporter
from app.relay.outcome_notifier import OutcomeNotifier
from app.store import backlog_queries, event_queries
from app.store.store import Store
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest, RowPicker, read_operations
from tests.histories import NOW

TABLES: Final = {Kind.USER: "users", Kind.TRIP: "trips", Kind.MEMBERSHIP: "trip_memberships"}
_BOOTED_AT: Final = 1000.0


@dataclass
class RunningClock(Clock):
    """A clock that runs and can also be stepped."""

    started_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return self.seconds + time.monotonic() - self.started_at


class Harness:
    """A dispatcher that the test drives request by request, or that runs.

    Attributes:
        clock: the wall clock.
        monotonic: the one that durations are measured by.
    """

    def __init__(
        self,
        store: Store,
        postgrest: FakePostgrest,
        http: httpx.AsyncClient,
        *,
        targets: Targets = MINIMAL_TARGETS,
        make_clock: Callable[[float], Clock] = Clock,
        jitter: Callable[[], float] = lambda: 0.999,
    ) -> None:
        self.store = store
        self.postgrest = postgrest
        self.clock = make_clock(NOW / MICROSECONDS_PER_SECOND)
        self.monotonic = make_clock(_BOOTED_AT)
        self.notifier = OutcomeNotifier()
        self.http = http
        self._targets = targets
        self.clocks = Clocks(self.clock, self.monotonic, jitter)
        self.dispatcher = self.start_dispatcher()

    def start_dispatcher(self) -> Dispatcher:
        """Start another dispatcher, as a new process would: only the store survives."""
        return Dispatcher(
            self.store,
            SupabaseClient(self.http, clock=self.clock),
            self.notifier,
            clocks=self.clocks,
            targets=self._targets,
        )

    def advance(self, seconds: float) -> None:
        """Advance every clock."""
        self.clock.advance(seconds)
        self.monotonic.advance(seconds)

    async def receive(self, *events: Event) -> None:
        await self.store.store_events(events, from_seconds(self.clock()))

    async def drain(self) -> None:
        """Dispatch until nothing is due."""
        while await self.dispatcher.dispatch_due():
            pass

    async def settle(self, *, rounds: int = 3, seconds: float = 61) -> None:
        """Dispatch now, and again after each advance of the clocks."""
        for _ in range(rounds):
            await self.drain()
            self.advance(seconds)
        await self.drain()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the dispatcher during the block."""
        task = asyncio.create_task(self.dispatcher.run())
        try:
            yield task
        finally:
            self.dispatcher.stop()
            self.postgrest.release()
            with suppress(asyncio.CancelledError):
                await task

    async def wait_until_applied(self, event: Event, *, seconds: float = 60) -> None:
        """Wait until the running dispatcher has recorded that an event is applied."""
        async with asyncio.timeout(seconds):
            with self.notifier.subscribe(EntityRef(event.kind, event.key)) as settled:
                while await self.status_of(event) is not EventStatus.APPLIED:
                    await settled.wait()
                    settled.clear()

    async def view(self, event: Event) -> EntityView:
        """Read the entity of an event."""
        found = await self.store.read(event_queries.find_event, event.event_id)
        assert found is not None
        return found.entity

    async def status_of(self, event: Event) -> EventStatus:
        return (await self.statuses_of(event))[0]

    async def statuses_of(self, *events: Event) -> list[EventStatus]:
        found = await self.store.read(
            event_queries.find_events, [event.event_id for event in events]
        )
        return [found[event.event_id].status for event in events]

    async def report_health(self) -> Health:
        return await HealthReporter(self.store, self.dispatcher, self.clocks).report()

    def held(self) -> dict[EntityRef, dict[str, str | None]]:
        """Return the rows in Supabase by entity."""
        return {
            EntityRef(kind, EntityKey("/".join(key))): row
            for kind, table in TABLES.items()
            for key, row in self.postgrest.tables[table].items()
        }


@asynccontextmanager
async def run_harness(
    store_url: str,
    postgrest: FakePostgrest,
    targets: Targets = MINIMAL_TARGETS,
    *,
    make_clock: Callable[[float], Clock] = Clock,
    jitter: Callable[[], float] = lambda: 0.999,
    timeout_seconds: float = 5,
) -> AsyncIterator[Harness]:
    store = await Store.open(store_url)
    http = open_http_client(
        "http://supabase.test", {}, timeout_seconds=timeout_seconds, transport=postgrest.transport()
    )
    async with http:
        yield Harness(store, postgrest, http, targets=targets, make_clock=make_clock, jitter=jitter)
    await store.close()


def picks(*events: Event) -> RowPicker:
    """Pick the rows of the entities of these events."""
    refs = {(TABLES[event.kind], event.key) for event in events}

    def pick(_: str, table: str, row: dict[str, str | None]) -> bool:
        key = row["id"] if "id" in row else f"{row['trip_id']}/{row['user_id']}"
        return (table, key) in refs

    return pick


def holds(*events: Event) -> Callable[[httpx.Request], bool]:
    """Pick the requests that hold a row of the entities of these events."""
    pick = picks(*events)

    def is_picked(request: httpx.Request) -> bool:
        return any(
            pick(each["operation"], each["table"].removeprefix("public."), row)
            for each in read_operations(request)
            for row in each["rows"]
        )

    return is_picked


def count_rows(request: httpx.Request) -> int:
    """Count the rows of a request."""
    return sum(len(operation["rows"]) for operation in read_operations(request))


async def await_backlog(store: Store, count: int) -> None:
    """Wait until this many entities are pending."""
    async with asyncio.timeout(60):
        while (await store.read(backlog_queries.measure_backlog, NOW)).pending != count:
            pass
