"""Wall clocks that step do not delay dispatching."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.domain.entities import EntityState, EventStatus, Priority
from app.domain.instants import after, from_seconds
from app.domain.retry import RetryDecision
from app.store import dispatch_queries, outcome_queries
from app.store.dispatch_queries import Wanted
from app.store.outcome_queries import Failed
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import World
from tests.relay.harness import Harness, RunningClock, holds, picks, run_harness

DAY_SECONDS = 24 * 3600.0
STEPS = {"a day back": -DAY_SECONDS, "4 min back": -240.0, "60 days on": 60 * DAY_SECONDS}
every_step = pytest.mark.parametrize("step", STEPS)


@pytest.fixture
async def harness(store_url: str) -> AsyncIterator[Harness]:
    """The clocks run; a tenth of the usual backoff keeps the tests short."""
    async with run_harness(
        store_url, FakePostgrest(), make_clock=RunningClock, jitter=lambda: 0.1
    ) as harness:
        yield harness


@every_step
async def test_revocation_after_a_clock_step_during_an_outage_is_applied_within_seconds(
    harness: Harness, step: str
) -> None:
    async with harness.running():
        await harness.postgrest.wait_for_requests(2)
        harness.postgrest.break_connection()
        await harness.receive(early := World().membership("deleted"))
        harness.dispatcher.wake()
        await harness.postgrest.wait_for_requests(4)
        harness.clock.advance(STEPS[step])
        await harness.receive(late := World().membership("deleted"))
        harness.dispatcher.wake()
        await harness.postgrest.wait_for_requests(6)
        harness.postgrest.heal()
        await harness.wait_until_applied(early, seconds=5)
        await harness.wait_until_applied(late, seconds=5)


@every_step
async def test_revocation_in_flight_at_a_clock_step_is_recorded_and_the_next_follows(
    harness: Harness, step: str
) -> None:
    await harness.receive(first := World().membership("deleted"))
    gate = harness.postgrest.hang(of=is_write)
    async with harness.running():
        await harness.postgrest.wait_for_hanging()
        harness.clock.advance(STEPS[step])
        await harness.receive(second := World().membership("deleted"))
        gate.set()
        await harness.wait_until_applied(first, seconds=5)
        await harness.wait_until_applied(second, seconds=5)


@every_step
async def test_revocation_of_a_locked_row_is_retried_within_seconds_after_a_clock_step(
    harness: Harness, step: str
) -> None:
    await harness.receive(revocation := World().membership("deleted"))
    unlock = harness.postgrest.fail_row(picks(revocation), "55P03")
    async with harness.running():
        await harness.postgrest.wait_for_writes(3)
        harness.clock.advance(STEPS[step])
        unlock()
        await harness.wait_until_applied(revocation, seconds=5)


@every_step
async def test_revocation_failing_alone_is_retried_within_seconds_after_a_clock_step(
    harness: Harness, step: str
) -> None:
    await harness.receive(revocation := World().membership("deleted"))
    harness.postgrest.break_connection(httpx.ReadTimeout, of=holds(revocation))
    async with harness.running():
        await harness.postgrest.wait_for_writes(2)
        harness.clock.advance(STEPS[step])
        harness.postgrest.heal()
        await harness.wait_until_applied(revocation, seconds=5)


@pytest.mark.parametrize("priority", [Priority.RETRIED_REVOCATION, Priority.RETRIED_WRITE])
async def test_entity_that_is_due_in_an_hour_by_the_clock_of_another_replica_is_due_now(
    harness: Harness, priority: Priority
) -> None:
    await harness.receive(event := World().membership("deleted"))
    now = from_seconds(harness.clock())
    batch = await harness.store.read(
        dispatch_queries.claim, now, Wanted((Priority.REVOCATION,), {Priority.REVOCATION: 1})
    )
    assert batch is not None
    decision = RetryDecision(EntityState.PENDING, priority, 1, after(now, 3600), False, now, None)
    await harness.store.write(
        outcome_queries.record_and_claim,
        now,
        [Failed(batch.entities[0], "55P03", "x", decision)],
        None,
    )
    async with harness.running():
        await harness.wait_until_applied(event, seconds=5)


async def test_entity_with_a_legitimate_wait_keeps_waiting(harness: Harness) -> None:
    await harness.receive(event := World().membership("deleted"))
    now = from_seconds(harness.clock())
    batch = await harness.store.read(
        dispatch_queries.claim, now, Wanted((Priority.REVOCATION,), {Priority.REVOCATION: 1})
    )
    assert batch is not None
    decision = RetryDecision(
        EntityState.PENDING, Priority.RETRIED_REVOCATION, 1, after(now, 55), False, now, None
    )
    await harness.store.write(
        outcome_queries.record_and_claim,
        now,
        [Failed(batch.entities[0], "55P03", "x", decision)],
        None,
    )
    async with harness.running():
        await harness.receive(other := World().membership("deleted"))
        await harness.wait_until_applied(other)
        harness.monotonic.advance(5)
        harness.dispatcher.wake()
        with pytest.raises(TimeoutError):
            await harness.wait_until_applied(event, seconds=1.5)


@every_step
async def test_breaker_heals_by_the_monotonic_clock_despite_wall_clock_steps(
    store_url: str, step: str
) -> None:
    async with run_harness(store_url, FakePostgrest()) as harness:
        await harness.receive(event := World().membership("deleted"))
        harness.postgrest.respond_with(503, headers={"Retry-After": "20"})
        await harness.drain()
        harness.postgrest.heal()
        asked = len(harness.postgrest.requests)
        harness.clock.advance(STEPS[step])
        harness.monotonic.advance(19)
        await harness.drain()
        assert len(harness.postgrest.requests) == asked
        harness.monotonic.advance(3)
        await harness.drain()
        assert await harness.status_of(event) is EventStatus.APPLIED


@every_step
async def test_event_received_before_a_step_and_applied_after_it_is_applied_at_once(
    store_url: str, step: str
) -> None:
    async with run_harness(store_url, FakePostgrest()) as harness:
        await harness.receive(event := World().trip("created"))
        harness.clock.advance(STEPS[step])
        await asyncio.wait_for(harness.drain(), 5)
        assert await harness.status_of(event) is EventStatus.APPLIED
