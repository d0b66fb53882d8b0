"""A dispatcher on a real store, with Supabase at the wire, driven by the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from app.domain.entities import EntityRef, EventStatus, Kind
from app.domain.events import Event
from app.domain.instants import MICROSECONDS_PER_SECOND
from app.relay.dispatch import Dispatcher
from app.relay.settlements import Settlements
from app.store.store import Store
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest
from tests.histories import NOW

TABLES = {Kind.USER: "users", Kind.TRIP: "trips", Kind.MEMBERSHIP: "trip_memberships"}


class Bench:
    """A dispatcher that is driven batch by batch."""

    def __init__(
        self,
        store: Store,
        postgrest: FakePostgrest,
        http: httpx.AsyncClient,
        targets: Targets = MINIMAL_TARGETS,
    ) -> None:
        self.store = store
        self.postgrest = postgrest
        self.clock = Clock(NOW / MICROSECONDS_PER_SECOND)
        self.settlements = Settlements()
        self.dispatcher = Dispatcher(
            store,
            SupabaseClient(http, clock=self.clock),
            self.settlements,
            clock=self.clock,
            monotonic=self.clock,
            jitter=lambda: 0.999,
            targets=targets,
        )

    async def receive(self, *events: Event) -> None:
        await self.store.store_events(events, NOW)

    async def drain(self) -> None:
        """Dispatch until nothing is due."""
        while await self.dispatcher.dispatch_due():
            pass

    async def status_of(self, event: Event) -> EventStatus:
        found = await self.store.find_event(event.event_id)
        assert found is not None
        return found.status

    def held(self) -> dict[EntityRef, dict[str, str | None]]:
        """Give what Supabase holds, by entity."""
        return {
            EntityRef(kind, "/".join(key)): row  # type: ignore[arg-type]  # a key is its ids joined
            for kind, table in TABLES.items()
            for key, row in self.postgrest.tables[table].items()
        }


@asynccontextmanager
async def run_bench(
    store_url: str, postgrest: FakePostgrest, targets: Targets = MINIMAL_TARGETS
) -> AsyncIterator[Bench]:
    store = await Store.open(store_url)
    http = open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=postgrest.transport()
    )
    async with http:
        yield Bench(store, postgrest, http, targets)
    await store.close()


async def await_backlog(store: Store, count: int) -> None:
    """Wait until so many entities are pending."""
    async with asyncio.timeout(10):
        while (await store.measure_backlog(NOW)).pending != count:
            pass
