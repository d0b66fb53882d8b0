"""The fence: late, repeated and foreign requests change nothing."""

import asyncio
import random
from collections.abc import AsyncIterator
from copy import deepcopy

import httpx
import pytest

from app.domain.entities import EventStatus
from app.relay.health import HealthStatus
from app.relay.leadership import LEASE_SECONDS, Leadership
from app.store import event_queries
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World, ref_of
from tests.postgres import PostgresServer
from tests.relay.harness import Bench, count_rows, run_bench
from tests.stores import create_postgres_store


def is_claim(request: httpx.Request) -> bool:
    return request.url.path.endswith("relay_claim")


async def claim_elsewhere(bench: Bench) -> None:
    """Claim the fence, as another relay would."""
    await bench.postgrest.answer(next(filter(is_claim, bench.postgrest.requests)))


# --- late requests ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_requests_delivered_twice_in_any_order_change_nothing(
    bench: Bench, seed: int
) -> None:
    world, other = World(), World()
    for at in range(3):
        await bench.receive(world.user("created", at=10 * at), world.trip("created", at=10 * at))
        await bench.receive(world.membership("created", at=10 * at + 1), other.user("created"))
        await bench.drain()
        await bench.receive(world.membership("updated", at=10 * at + 2, role="ADMIN"))
        await bench.drain()
        await bench.receive(world.membership("deleted", at=10 * at + 3))
        await bench.drain()
        await bench.receive(world.trip("deleted", at=10 * at + 4))
        await bench.drain()
        bench.dispatcher = bench.start_dispatcher()
    await bench.receive(last := world.trip("created", at=40))
    await bench.drain()
    tables = deepcopy(bench.postgrest.tables)
    late = [*bench.postgrest.requests, *bench.postgrest.requests]
    random.Random(seed).shuffle(late)  # noqa: S311 - an order, and no secret
    for request in late:
        answer = await bench.postgrest.answer(request)
        assert answer.status_code == (200 if is_claim(request) else 409)
        assert bench.postgrest.tables == tables
    # Later events are applied, although the fence has advanced.
    revocation = world.trip("deleted", at=41)
    await bench.receive(revocation)
    await bench.drain()
    assert await bench.status_of(revocation) is EventStatus.APPLIED
    assert ref_of(last) not in bench.held()


async def test_grant_delivered_after_its_revocation_gives_no_access(bench: Bench) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.drain()
    bench.postgrest.break_connection(httpx.ReadTimeout, of=is_write)
    await bench.receive(world.membership("created", at=1))
    await bench.drain()
    grant = bench.postgrest.writes[-1]
    bench.postgrest.heal()
    revocation = world.membership("deleted", at=2)
    await bench.receive(revocation)
    await bench.drain()
    assert await bench.status_of(revocation) is EventStatus.APPLIED
    assert (await bench.postgrest.answer(grant)).status_code == 409
    assert bench.postgrest.rows("trip_memberships") == []


async def test_grant_of_a_killed_process_delivered_after_the_restart_gives_no_access(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.drain()
    await bench.receive(world.membership("created", at=1))
    gate = bench.postgrest.hang(of=is_write)
    killed = asyncio.create_task(bench.dispatcher.dispatch_due())
    await bench.postgrest.wait_for_hanging()
    grant = bench.postgrest.writes[-1]
    killed.cancel()
    await asyncio.wait([killed])
    bench.dispatcher = bench.start_dispatcher()
    await bench.receive(world.membership("deleted", at=2))
    gate.set()
    await bench.drain()
    await bench.postgrest.answer(grant)
    assert bench.postgrest.rows("trip_memberships") == []


async def test_delete_of_a_parent_delivered_late_deletes_no_newer_rows(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.receive(world.membership("created"))
    await bench.drain()
    bench.postgrest.lose_answers(of=is_write)
    await bench.receive(world.trip("deleted", at=1))
    await bench.drain()
    deletes = bench.postgrest.writes[-2:]
    bench.postgrest.heal()
    joined = world.membership("created", at=3)
    await bench.receive(world.trip("created", at=2), joined)
    await bench.settle(rounds=2)
    for request in deletes:
        await bench.postgrest.answer(request)
    assert ref_of(joined) in bench.held()
    assert await bench.status_of(joined) is EventStatus.APPLIED


# --- busy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [True, False])
async def test_busy_fence_is_retried_at_once_without_a_split_or_a_penalty(
    bench: Bench, *, has_begun: bool
) -> None:
    if has_begun:
        await bench.receive(World().trip("created"))
        await bench.drain()
    before = len(bench.postgrest.requests)
    trips = [World().trip("created") for _ in range(50)]
    await bench.receive(*trips)
    unlock = bench.postgrest.lock_fence()
    dispatching = asyncio.create_task(bench.drain())
    await bench.postgrest.wait_for_requests(before + 4)
    unlock()
    await dispatching
    assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert {count_rows(write) for write in bench.postgrest.writes[int(has_begun) :]} == {50}
    assert bench.dispatcher.status.failure is None


async def test_fence_busy_for_long_is_reported(bench: Bench) -> None:
    await bench.receive(World().trip("created"))
    await bench.drain()
    await bench.receive(trip := World().trip("created"))
    unlock = bench.postgrest.lock_fence()
    async with bench.running():
        before = len(bench.postgrest.requests)
        await bench.postgrest.wait_for_requests(before + 2)
        assert not bench.dispatcher.status.is_fence_busy
        bench.advance(11)
        health = await bench.report_health()
        assert health.supabase.status is HealthStatus.DEGRADED
        assert "relay.fence" in (health.supabase.reason or "")
        unlock()
        await bench.wait_until_applied(trip)
    assert (await bench.report_health()).supabase.status is HealthStatus.OK


# --- stale -----------------------------------------------------------------------------------


async def test_stale_request_claims_the_fence_again_without_a_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.receive(World().trip("created"))
    await bench.drain()
    await claim_elsewhere(bench)
    trips = [World().trip("created") for _ in range(50)]
    await bench.receive(*trips)
    await bench.drain()
    assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert [count_rows(write) for write in bench.postgrest.writes] == [1, 50, 50]
    assert not bench.dispatcher.status.has_rival
    assert caplog.records == []


async def test_rival_relay_with_another_store_is_reported_and_both_continue(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    trips = [World().trip("created") for _ in range(4)]
    for trip in trips:
        await bench.receive(trip)
        await bench.drain()
        await claim_elsewhere(bench)
        bench.advance(1)
    assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert bench.dispatcher.status.has_rival
    health = await bench.report_health()
    assert health.dispatcher.status is HealthStatus.DEGRADED
    assert "stop one" in (health.dispatcher.reason or "")
    assert caplog.text.count("another relay writes to this project") == 1
    bench.advance(61)
    assert (await bench.report_health()).dispatcher.status is HealthStatus.OK


# --- leaders ---------------------------------------------------------------------------------


@pytest.fixture
def shared_store_url(postgres: PostgresServer) -> str:
    return create_postgres_store(postgres)


@pytest.fixture
async def first(shared_store_url: str, postgrest: FakePostgrest) -> AsyncIterator[Bench]:
    async with run_bench(shared_store_url, postgrest) as bench:
        yield bench


@pytest.fixture
async def second(shared_store_url: str, postgrest: FakePostgrest) -> AsyncIterator[Bench]:
    async with run_bench(shared_store_url, postgrest) as bench:
        yield bench


def share(bench: Bench, name: str, boot_clock: Clock) -> Leadership:
    assert bench.store.replicas is not None
    leadership = Leadership(
        bench.store.replicas,
        holder=name,
        on_gain=bench.dispatcher.wake,
        get_status=lambda: bench.dispatcher.status,
        clock=boot_clock,
    )
    bench.dispatcher.require_leadership(leadership)
    return leadership


async def test_new_leader_claims_the_fence_and_makes_old_requests_stale(
    first: Bench, second: Bench, postgrest: FakePostgrest
) -> None:
    boot_clock = Clock()
    one, two = share(first, "first", boot_clock), share(second, "second", Clock())
    await one.acquire_or_renew()
    world = World()
    await first.receive(world.user("created"))
    await first.drain()
    old = world.user("updated", at=1, name="old")
    await first.receive(old)
    postgrest.hang(of=is_write)
    dispatching = asyncio.create_task(first.dispatcher.dispatch_due())
    await postgrest.wait_for_hanging()
    held_back = postgrest.writes[-1]
    await one.release()
    boot_clock.advance(LEASE_SECONDS)
    postgrest.hang(of=lambda request: request is held_back)
    await two.acquire_or_renew()
    newer = world.user("updated", at=2, name="new")
    await second.receive(newer)
    await second.drain()
    assert await second.status_of(newer) is EventStatus.APPLIED
    epoch = postgrest.epoch
    assert epoch == 2
    postgrest.release()
    assert (await postgrest.answer(held_back)).status_code == 409
    dispatching.cancel()
    await asyncio.wait([dispatching])
    assert [row["username"] for row in postgrest.rows("users")] == ["new"]


async def test_lease_held_again_after_another_leader_claims_the_fence_again(
    first: Bench, second: Bench, postgrest: FakePostgrest
) -> None:
    one, two = share(first, "first", Clock()), share(second, "second", Clock())
    for leadership, bench in ((one, first), (two, second), (one, first)):
        await leadership.acquire_or_renew()
        await bench.receive(trip := World().trip("created"))
        await bench.drain()
        assert await bench.status_of(trip) is EventStatus.APPLIED
        await leadership.release()
    assert postgrest.epoch == 3
    assert len(list(filter(is_write, postgrest.requests))) == 3, "none was stale"
    assert not first.dispatcher.status.has_rival


async def test_leader_deposed_during_a_request_records_nothing_and_warns(
    first: Bench, second: Bench, postgrest: FakePostgrest, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = share(first, "first", Clock()), share(second, "second", Clock())
    await one.acquire_or_renew()
    await first.receive(trip := World().trip("created"))
    gate = postgrest.hang(of=is_write)
    dispatching = asyncio.create_task(first.dispatcher.dispatch_due())
    await postgrest.wait_for_hanging()
    await one.release()
    await two.acquire_or_renew()
    gate.set()
    assert not await dispatching
    assert "another replica dispatches" in caplog.text
    assert await second.status_of(trip) is EventStatus.PENDING
    await second.drain()
    assert await second.status_of(trip) is EventStatus.APPLIED
    assert (await second.store.read(event_queries.measure_backlog, NOW)).pending == 0
