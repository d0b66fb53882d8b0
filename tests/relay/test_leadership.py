"""Which replica dispatches, and the unfinished work of a former leader."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import pytest

from app.domain.clocks import Clocks
from app.domain.entities import EventStatus
from app.domain.errors import LeaseLost
from app.domain.events import Event
from app.domain.failures import RequestFailureKind
from app.domain.instants import MICROSECONDS_PER_SECOND, from_seconds
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.dispatch import Dispatcher
from app.relay.leader_reader import LeaderReader
from app.relay.leadership import LEASE_SECONDS, Leadership
from app.relay.outcome_notifier import OutcomeNotifier
from app.store import event_queries
from app.store.replicas import Replicas
from app.store.store import Store
from app.supabase.client import SupabaseClient, open_http_client
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World


@dataclass
class Replica:
    """The store, lease and dispatcher of a relay, driven by the test.

    Attributes:
        boot_clock: by which it judges how long it has held the lease.
    """

    store: Store
    dispatcher: Dispatcher
    leadership: Leadership
    boot_clock: Clock

    async def lead(self) -> None:
        await self.leadership.acquire_or_renew()
        assert self.leadership.is_held

    async def drain(self) -> None:
        while await self.dispatcher.dispatch_due():
            pass


class Scene:
    """Two replicas, one database and one Supabase."""

    def __init__(self, store_url: str, supabase: FakePostgrest) -> None:
        self.clock = Clock(NOW / MICROSECONDS_PER_SECOND)
        self.supabase = supabase
        self._store_url = store_url

    @asynccontextmanager
    async def run_replica(self, name: str) -> AsyncIterator[Replica]:
        store = await Store.open(self._store_url)
        boot_clock = Clock(1000.0)
        async with open_http_client(
            "http://supabase.test", {}, timeout_seconds=5, transport=self.supabase.transport()
        ) as http:
            dispatcher = Dispatcher(
                store,
                SupabaseClient(http, clock=self.clock),
                OutcomeNotifier(),
                clocks=Clocks(self.clock, self.clock, lambda: 0.999),
            )
            leadership = Leadership(
                replicas_of(store),
                holder=name,
                on_gain=dispatcher.wake,
                get_status=lambda: dispatcher.status,
                clock=boot_clock,
            )
            dispatcher.require_leadership(leadership)
            yield Replica(store, dispatcher, leadership, boot_clock)
        await store.close()

    def expire_lease(self, *replicas: Replica) -> None:
        """Let the lease expire."""
        with psycopg.connect(self._store_url, autocommit=True) as connection:
            connection.execute("UPDATE lease SET expires_at = 0")
        for replica in replicas:
            replica.boot_clock.advance(LEASE_SECONDS)

    @asynccontextmanager
    async def holding_a_write(
        self, replica: Replica, *, lands: bool = False
    ) -> AsyncIterator[None]:
        """Have a replica dispatch a batch whose first write hangs during the block."""
        gate = self.supabase.hang(of=is_write, lands=lands)
        batch = asyncio.create_task(replica.dispatcher.dispatch_due())
        await self.supabase.wait_for_hanging()
        # Other writes succeed meanwhile.
        self.supabase.hang(of=lambda _: False)
        yield
        gate.set()
        await batch

    def usernames(self) -> list[str | None]:
        return [user["username"] for user in self.supabase.rows("users")]

    async def receive(self, store: Store, *events: Event) -> None:
        await store.store_events(events, from_seconds(self.clock()))


def replicas_of(store: Store) -> Replicas:
    assert store.replicas is not None
    return store.replicas


@pytest.fixture
def store_url(postgres_store_url: str) -> str:
    return postgres_store_url


@pytest.fixture
def scene(store_url: str) -> Scene:
    return Scene(store_url, FakePostgrest(has_foreign_keys=True))


@pytest.fixture
async def first(scene: Scene) -> AsyncIterator[Replica]:
    async with scene.run_replica("first") as replica:
        yield replica


@pytest.fixture
async def second(scene: Scene) -> AsyncIterator[Replica]:
    async with scene.run_replica("second") as replica:
        yield replica


async def test_lease_is_held_by_one_until_it_expires(
    scene: Scene, first: Replica, second: Replica
) -> None:
    await first.lead()
    await second.leadership.acquire_or_renew()
    assert not second.leadership.is_held
    scene.expire_lease(first)
    assert not first.leadership.is_held
    await second.lead()
    await first.leadership.acquire_or_renew()
    assert not first.leadership.is_held
    with pytest.raises(LeaseLost):
        first.leadership.require()


async def test_lease_not_acquired_by_others_continues_under_the_same_token(
    scene: Scene, first: Replica
) -> None:
    await first.lead()
    token = first.leadership.require()
    scene.expire_lease(first)
    await first.leadership.acquire_or_renew()
    assert first.leadership.require(token) == token


async def test_lease_that_is_released_is_free_at_once(first: Replica, second: Replica) -> None:
    await first.lead()
    await first.leadership.release()
    await second.lead()
    assert not first.leadership.is_held


async def test_request_of_an_earlier_lease_is_stale_after_another_leader(
    scene: Scene, first: Replica, second: Replica
) -> None:
    """Another replica was the leader in between: requests in flight are outdated."""
    world = World()
    joined = world.membership("created", at=1)
    await scene.receive(first.store, world.user("created"), world.trip("created"), joined)
    await first.lead()
    async with scene.holding_a_write(first):
        scene.expire_lease(first)
        await second.lead()
        await scene.receive(second.store, world.membership("deleted", at=2))
        await second.drain()
        await second.leadership.release()
        await first.leadership.acquire_or_renew()
        await first.lead()
    assert scene.supabase.rows("trip_memberships") == []
    await first.drain()
    assert scene.supabase.rows("trip_memberships") == []


@pytest.mark.parametrize("lands", [False, True], ids=["request", "answer"])
async def test_dispatcher_deposed_while_supabase_answers_leaves_nothing_stale(
    scene: Scene, first: Replica, second: Replica, *, lands: bool
) -> None:
    world = World()
    await scene.receive(first.store, world.user("created", at=1, name="old"))
    newer = world.user("updated", at=2, name="new")
    await first.lead()
    async with scene.holding_a_write(first, lands=lands):
        scene.expire_lease(first)
        await second.lead()
        await scene.receive(second.store, newer)
        await second.drain()
        assert scene.usernames() == ["new"]
    # It arrived after the other replica had claimed the fence.
    assert scene.usernames() == ["new"]
    assert await status_of(second, newer) is EventStatus.APPLIED


@pytest.mark.parametrize("kind", ["trip", "user"])
async def test_dispatcher_deposed_whose_removal_arrives_late_cascades_to_nothing(
    scene: Scene, first: Replica, second: Replica, kind: str
) -> None:
    world = World()
    make = world.trip if kind == "trip" else world.user
    await scene.receive(first.store, world.user("created", at=1), world.trip("created", at=1))
    await first.lead()
    await first.drain()
    await scene.receive(first.store, make("deleted", at=2))
    async with scene.holding_a_write(first):
        scene.expire_lease(first)
        await second.lead()
        joined = world.membership("created", at=4)
        await scene.receive(second.store, make("created", at=3), joined)
        await second.drain()
        assert len(scene.supabase.rows("trip_memberships")) == 1
    assert len(scene.supabase.rows("trip_memberships")) == 1
    assert await status_of(second, joined) is EventStatus.APPLIED


@pytest.mark.parametrize("kind", ["trip", "user"])
async def test_dispatcher_deposed_after_its_removal_has_the_children_written_again(
    scene: Scene, first: Replica, second: Replica, kind: str
) -> None:
    """The removal has cascaded in Supabase, but its response was lost."""
    world = World()
    make = world.trip if kind == "trip" else world.user
    joined = world.membership("created", at=4)
    await scene.receive(first.store, world.user("created"), world.trip("created"), joined)
    await first.lead()
    await first.drain()
    await scene.receive(first.store, make("deleted", at=2))
    async with scene.holding_a_write(first, lands=True):
        assert scene.supabase.rows("trip_memberships") == []
        scene.expire_lease(first)
        await second.lead()
        await scene.receive(second.store, make("created", at=3))
        await second.drain()
    assert len(scene.supabase.rows("trip_memberships")) == 1
    assert await status_of(second, joined) is EventStatus.APPLIED


async def test_dispatcher_whose_lease_has_expired_sends_nothing(
    scene: Scene, first: Replica, second: Replica
) -> None:
    await scene.receive(first.store, World().user("created"))
    await first.lead()
    scene.expire_lease(first)
    await second.lead()
    assert not await first.dispatcher.dispatch_due()
    assert scene.supabase.requests == []


async def test_dispatcher_unaware_of_a_lost_lease_changes_nothing(
    scene: Scene, first: Replica, second: Replica
) -> None:
    """Its clock has not shown it yet, but the fence does."""
    world = World()
    await scene.receive(first.store, world.user("created", at=1, name="old"))
    await first.lead()
    async with scene.holding_a_write(first):
        scene.expire_lease()
        await second.lead()
        await scene.receive(second.store, world.user("updated", at=2, name="new"))
        await second.drain()
    assert first.leadership.is_held  # as it believes
    assert scene.usernames() == ["new"]
    assert len(scene.supabase.writes) == 2


async def test_dispatcher_unaware_of_a_lost_lease_records_nothing(
    scene: Scene, first: Replica, second: Replica
) -> None:
    event = World().user("created")
    await scene.receive(first.store, event)
    await first.lead()
    async with scene.holding_a_write(first):
        scene.expire_lease()
        await second.lead()
    assert first.leadership.is_held  # as it believes
    assert await status_of(second, event) is EventStatus.PENDING
    await second.drain()
    assert await status_of(second, event) is EventStatus.APPLIED


async def test_dispatcher_deposed_between_two_requests_sends_no_other(
    scene: Scene, first: Replica, second: Replica
) -> None:
    trips = [World().trip("created") for _ in range(2 * REQUEST_ENTITIES)]
    await scene.receive(first.store, *trips)
    await first.lead()
    async with scene.holding_a_write(first):
        scene.expire_lease(first)
        await second.lead()
    assert len(scene.supabase.writes) == 1
    await second.drain()
    assert len(scene.supabase.rows("trips")) == len(trips)


async def test_leader_reports_its_dispatchers_status_to_followers(
    scene: Scene, first: Replica, second: Replica
) -> None:
    assert await second.leadership.read_leader() is None
    await first.lead()
    await scene.receive(first.store, World().user("created"))
    scene.supabase.respond_with(401, {"message": "Invalid API key"})
    await first.drain()
    await first.leadership.acquire_or_renew()
    leader = await second.leadership.read_leader()
    assert leader is not None
    assert leader.name == first.leadership.holder
    status = leader.status
    assert status == first.dispatcher.status
    assert status.failure is not None
    assert status.failure.kind is RequestFailureKind.MISCONFIGURED
    await first.leadership.release()
    assert await second.leadership.read_leader() is None


async def test_follower_knows_the_leader_and_its_next_probe(
    scene: Scene, first: Replica, second: Replica
) -> None:
    await first.lead()
    trip = World().trip("created")
    await scene.receive(first.store, trip)
    scene.supabase.break_connection()
    await first.drain()
    await first.leadership.acquire_or_renew()
    by_first = LeaderReader(first.dispatcher, first.leadership)
    by_second = LeaderReader(second.dispatcher, second.leadership)
    leader = await by_second.read()
    assert leader == await by_first.read()
    assert leader is not None
    assert (leader.name, by_second.replica) == ("first", "second")
    event = await second.store.read(event_queries.find_event, trip.event_id)
    assert event is not None
    (corrected,) = await by_second.correct_attempts([event])
    assert corrected.entity.next_attempt_at == leader.status.next_probe_at
    await first.leadership.release()
    (corrected,) = await by_second.correct_attempts([event])
    assert corrected.entity.next_attempt_at is None


async def test_dispatcher_of_a_follower_sends_nothing(
    scene: Scene, first: Replica, second: Replica
) -> None:
    await first.lead()
    await scene.receive(second.store, World().user("created"))
    assert not await second.dispatcher.dispatch_due()
    assert scene.supabase.requests == []
    await first.drain()
    assert len(scene.supabase.rows("users")) == 1


async def test_leadership_without_a_store_warns_once_and_logs_recovery(
    first: Replica, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE lease RENAME TO hidden")
        seeking = asyncio.create_task(first.leadership.run())
        await asyncio.sleep(2)
        assert "the store is unavailable" in caplog.text
        connection.execute("ALTER TABLE hidden RENAME TO lease")
    async with asyncio.timeout(60):
        while not first.leadership.is_held:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    await asyncio.sleep(0)
    seeking.cancel()
    told = [each for each in caplog.records if each.name == "app.relay.leadership"]
    assert [(each.levelname, each.exc_info) for each in told] == [
        ("WARNING", None),
        ("INFO", None),  # It has the lease.
        ("INFO", None),
    ]


async def status_of(replica: Replica, event: Event) -> EventStatus:
    found = await replica.store.read(event_queries.find_event, event.event_id)
    assert found is not None
    return found.status
