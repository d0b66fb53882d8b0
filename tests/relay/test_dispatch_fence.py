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
from app.store import backlog_queries
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World, ref_of
from tests.relay.harness import Harness, count_rows, run_harness


def is_claim(request: httpx.Request) -> bool:
    return request.url.path.endswith("relay_claim")


async def claim_elsewhere(harness: Harness) -> None:
    """Claim the fence, as another relay would."""
    await harness.postgrest.respond(next(filter(is_claim, harness.postgrest.requests)))


# --- late requests ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_requests_delivered_twice_in_any_order_change_nothing(
    harness: Harness, seed: int
) -> None:
    world, other = World(), World()
    for at in range(3):
        await harness.receive(world.user("created", at=10 * at), world.trip("created", at=10 * at))
        await harness.receive(world.membership("created", at=10 * at + 1), other.user("created"))
        await harness.drain()
        await harness.receive(world.membership("updated", at=10 * at + 2, role="ADMIN"))
        await harness.drain()
        await harness.receive(world.membership("deleted", at=10 * at + 3))
        await harness.drain()
        await harness.receive(world.trip("deleted", at=10 * at + 4))
        await harness.drain()
        harness.dispatcher = harness.start_dispatcher()
    await harness.receive(last := world.trip("created", at=40))
    await harness.drain()
    tables = deepcopy(harness.postgrest.tables)
    late = [*harness.postgrest.requests, *harness.postgrest.requests]
    random.Random(seed).shuffle(late)  # noqa: S311 - an order, and no secret
    for request in late:
        answer = await harness.postgrest.respond(request)
        assert answer.status_code == (200 if is_claim(request) else 409)
        assert harness.postgrest.tables == tables
    # Later events are applied, although the fence has advanced.
    revocation = world.trip("deleted", at=41)
    await harness.receive(revocation)
    await harness.drain()
    assert await harness.status_of(revocation) is EventStatus.APPLIED
    assert ref_of(last) not in harness.held()


async def test_grant_delivered_after_its_revocation_gives_no_access(harness: Harness) -> None:
    world = World()
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    harness.postgrest.break_connection(httpx.ReadTimeout, of=is_write)
    await harness.receive(world.membership("created", at=1))
    await harness.drain()
    grant = harness.postgrest.writes[-1]
    harness.postgrest.heal()
    revocation = world.membership("deleted", at=2)
    await harness.receive(revocation)
    await harness.drain()
    assert await harness.status_of(revocation) is EventStatus.APPLIED
    assert (await harness.postgrest.respond(grant)).status_code == 409
    assert harness.postgrest.rows("trip_memberships") == []


async def test_grant_of_a_killed_process_delivered_after_the_restart_gives_no_access(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    await harness.receive(world.membership("created", at=1))
    gate = harness.postgrest.hang(of=is_write)
    killed = asyncio.create_task(harness.dispatcher.dispatch_due())
    await harness.postgrest.wait_for_hanging()
    grant = harness.postgrest.writes[-1]
    killed.cancel()
    await asyncio.wait([killed])
    harness.dispatcher = harness.start_dispatcher()
    await harness.receive(world.membership("deleted", at=2))
    gate.set()
    await harness.drain()
    await harness.postgrest.respond(grant)
    assert harness.postgrest.rows("trip_memberships") == []


async def test_delete_of_a_parent_delivered_late_deletes_no_newer_rows(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.receive(world.membership("created"))
    await harness.drain()
    harness.postgrest.lose_responses(of=is_write)
    await harness.receive(world.trip("deleted", at=1))
    await harness.drain()
    deletes = harness.postgrest.writes[-2:]
    harness.postgrest.heal()
    joined = world.membership("created", at=3)
    await harness.receive(world.trip("created", at=2), joined)
    await harness.settle(rounds=2)
    for request in deletes:
        await harness.postgrest.respond(request)
    assert ref_of(joined) in harness.held()
    assert await harness.status_of(joined) is EventStatus.APPLIED


# --- busy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [True, False])
async def test_busy_fence_is_retried_at_once_without_a_split_or_a_penalty(
    harness: Harness, *, has_begun: bool
) -> None:
    if has_begun:
        await harness.receive(World().trip("created"))
        await harness.drain()
    before = len(harness.postgrest.requests)
    trips = [World().trip("created") for _ in range(50)]
    await harness.receive(*trips)
    unlock = harness.postgrest.lock_fence()
    dispatching = asyncio.create_task(harness.drain())
    await harness.postgrest.wait_for_requests(before + 4)
    unlock()
    await dispatching
    assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert {count_rows(write) for write in harness.postgrest.writes[int(has_begun) :]} == {50}
    assert harness.dispatcher.status.failure is None


async def test_fence_busy_for_long_is_reported(harness: Harness) -> None:
    await harness.receive(World().trip("created"))
    await harness.drain()
    await harness.receive(trip := World().trip("created"))
    unlock = harness.postgrest.lock_fence()
    async with harness.running():
        before = len(harness.postgrest.requests)
        await harness.postgrest.wait_for_requests(before + 2)
        assert not harness.dispatcher.status.is_fence_busy
        harness.advance(11)
        health = await harness.report_health()
        assert health.supabase.status is HealthStatus.DEGRADED
        assert "relay.fence" in (health.supabase.reason or "")
        unlock()
        await harness.wait_until_applied(trip)
    assert (await harness.report_health()).supabase.status is HealthStatus.OK


async def test_fence_busy_for_long_is_logged_until_it_is_free(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="app.relay.fence")
    await harness.receive(trip := World().trip("created"))
    unlock = harness.postgrest.lock_fence()
    async with harness.running():
        await harness.postgrest.wait_for_requests(2)
        for seconds in (11, 300):
            harness.advance(seconds)
            await harness.postgrest.wait_for_requests(len(harness.postgrest.requests) + 2)
        unlock()
        await harness.wait_until_applied(trip)
    held = "another request or session holds the lock on relay.fence; retrying"
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", held),
        ("WARNING", f"{held} (for 5 minutes)"),
        ("INFO", "the lock on relay.fence is free again"),
    ]


# --- stale -----------------------------------------------------------------------------------


async def test_stale_request_claims_the_fence_again_without_a_warning(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.receive(World().trip("created"))
    await harness.drain()
    await claim_elsewhere(harness)
    trips = [World().trip("created") for _ in range(50)]
    await harness.receive(*trips)
    await harness.drain()
    assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert [count_rows(write) for write in harness.postgrest.writes] == [1, 50, 50]
    assert not harness.dispatcher.status.has_rival
    assert caplog.records == []


async def test_rival_relay_with_another_store_is_reported_and_both_continue(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    trips = [World().trip("created") for _ in range(4)]
    for trip in trips:
        await harness.receive(trip)
        await harness.drain()
        await claim_elsewhere(harness)
        harness.advance(1)
    assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert harness.dispatcher.status.has_rival
    health = await harness.report_health()
    assert health.dispatcher.status is HealthStatus.DEGRADED
    assert "stop one" in (health.dispatcher.reason or "")
    assert caplog.text.count("another relay writes to this project") == 1
    harness.advance(61)
    assert (await harness.report_health()).dispatcher.status is HealthStatus.OK
    caplog.set_level("INFO", logger="app.relay.fence")
    await harness.receive(World().trip("created"))
    for _ in range(2):
        # The first request claims the fence again.
        await harness.drain()
    assert caplog.messages[-1] == "no other relay writes to this project any more"


# --- leaders ---------------------------------------------------------------------------------


@pytest.fixture
def shared_store_url(postgres_store_url: str) -> str:
    return postgres_store_url


@pytest.fixture
async def first(shared_store_url: str, postgrest: FakePostgrest) -> AsyncIterator[Harness]:
    async with run_harness(shared_store_url, postgrest) as harness:
        yield harness


@pytest.fixture
async def second(shared_store_url: str, postgrest: FakePostgrest) -> AsyncIterator[Harness]:
    async with run_harness(shared_store_url, postgrest) as harness:
        yield harness


def share(harness: Harness, name: str, boot_clock: Clock) -> Leadership:
    assert harness.store.replicas is not None
    leadership = Leadership(
        harness.store.replicas,
        holder=name,
        on_gain=harness.dispatcher.wake,
        get_status=lambda: harness.dispatcher.status,
        clock=boot_clock,
    )
    harness.dispatcher.require_leadership(leadership)
    return leadership


async def test_new_leader_claims_the_fence_and_makes_old_requests_stale(
    first: Harness, second: Harness, postgrest: FakePostgrest
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
    assert (await postgrest.respond(held_back)).status_code == 409
    dispatching.cancel()
    await asyncio.wait([dispatching])
    assert [row["username"] for row in postgrest.rows("users")] == ["new"]


async def test_lease_held_again_after_another_leader_claims_the_fence_again(
    first: Harness, second: Harness, postgrest: FakePostgrest
) -> None:
    one, two = share(first, "first", Clock()), share(second, "second", Clock())
    for leadership, harness in ((one, first), (two, second), (one, first)):
        await leadership.acquire_or_renew()
        await harness.receive(trip := World().trip("created"))
        await harness.drain()
        assert await harness.status_of(trip) is EventStatus.APPLIED
        await leadership.release()
    assert postgrest.epoch == 3
    assert len(list(filter(is_write, postgrest.requests))) == 3, "none was stale"
    assert not first.dispatcher.status.has_rival


async def test_leader_deposed_during_a_request_records_nothing_and_warns(
    first: Harness, second: Harness, postgrest: FakePostgrest, caplog: pytest.LogCaptureFixture
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
    assert (await second.store.read(backlog_queries.measure_backlog, NOW)).pending == 0
