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
from tests.relay.harness import Bench, RunningClock, holds, picks, run_bench

DAY_SECONDS = 24 * 3600.0
STEPS = {"a day back": -DAY_SECONDS, "4 min back": -240.0, "60 days on": 60 * DAY_SECONDS}
every_step = pytest.mark.parametrize("step", STEPS)


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """The clocks run; a tenth of the usual backoff keeps the tests short."""
    async with run_bench(
        store_url, FakePostgrest(), make_clock=RunningClock, jitter=lambda: 0.1
    ) as bench:
        yield bench


@every_step
async def test_revocation_after_a_clock_step_during_an_outage_is_applied_within_seconds(
    bench: Bench, step: str
) -> None:
    async with bench.running():
        await bench.postgrest.wait_for_requests(2)
        bench.postgrest.break_connection()
        await bench.receive(early := World().membership("deleted"))
        bench.dispatcher.wake()
        await bench.postgrest.wait_for_requests(4)
        bench.clock.advance(STEPS[step])
        await bench.receive(late := World().membership("deleted"))
        bench.dispatcher.wake()
        await bench.postgrest.wait_for_requests(6)
        bench.postgrest.heal()
        await bench.wait_until_applied(early, seconds=5)
        await bench.wait_until_applied(late, seconds=5)


@every_step
async def test_revocation_in_flight_at_a_clock_step_is_recorded_and_the_next_follows(
    bench: Bench, step: str
) -> None:
    await bench.receive(first := World().membership("deleted"))
    gate = bench.postgrest.hang(of=is_write)
    async with bench.running():
        await bench.postgrest.wait_for_hanging()
        bench.clock.advance(STEPS[step])
        await bench.receive(second := World().membership("deleted"))
        gate.set()
        await bench.wait_until_applied(first, seconds=5)
        await bench.wait_until_applied(second, seconds=5)


@every_step
async def test_revocation_of_a_locked_row_is_retried_within_seconds_after_a_clock_step(
    bench: Bench, step: str
) -> None:
    await bench.receive(revocation := World().membership("deleted"))
    unlock = bench.postgrest.fail_row(picks(revocation), "55P03")
    async with bench.running():
        await bench.postgrest.wait_for_writes(3)
        bench.clock.advance(STEPS[step])
        unlock()
        await bench.wait_until_applied(revocation, seconds=5)


@every_step
async def test_revocation_failing_alone_is_retried_within_seconds_after_a_clock_step(
    bench: Bench, step: str
) -> None:
    await bench.receive(revocation := World().membership("deleted"))
    bench.postgrest.break_connection(httpx.ReadTimeout, of=holds(revocation))
    async with bench.running():
        await bench.postgrest.wait_for_writes(2)
        bench.clock.advance(STEPS[step])
        bench.postgrest.heal()
        await bench.wait_until_applied(revocation, seconds=5)


@pytest.mark.parametrize("priority", [Priority.RETRIED_REVOCATION, Priority.RETRIED_WRITE])
async def test_entity_that_is_due_in_an_hour_by_the_clock_of_another_replica_is_due_now(
    bench: Bench, priority: Priority, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.receive(event := World().membership("deleted"))
    now = from_seconds(bench.clock())
    batch = await bench.store.read(
        dispatch_queries.claim, now, Wanted((Priority.REVOCATION,), {Priority.REVOCATION: 1})
    )
    assert batch is not None
    decision = RetryDecision(EntityState.PENDING, priority, 1, after(now, 3600), False, now, None)
    await bench.store.write(
        outcome_queries.record_and_claim,
        now,
        [Failed(batch.entities[0], "55P03", "x", decision)],
        None,
    )
    async with bench.running():
        await bench.wait_until_applied(event, seconds=5)
    assert "the clock was ahead" in caplog.text


async def test_entity_with_a_legitimate_wait_keeps_waiting(bench: Bench) -> None:
    await bench.receive(event := World().membership("deleted"))
    now = from_seconds(bench.clock())
    batch = await bench.store.read(
        dispatch_queries.claim, now, Wanted((Priority.REVOCATION,), {Priority.REVOCATION: 1})
    )
    assert batch is not None
    decision = RetryDecision(
        EntityState.PENDING, Priority.RETRIED_REVOCATION, 1, after(now, 55), False, now, None
    )
    await bench.store.write(
        outcome_queries.record_and_claim,
        now,
        [Failed(batch.entities[0], "55P03", "x", decision)],
        None,
    )
    async with bench.running():
        await bench.receive(other := World().membership("deleted"))
        await bench.wait_until_applied(other)
        bench.monotonic.advance(5)
        bench.dispatcher.wake()
        with pytest.raises(TimeoutError):
            await bench.wait_until_applied(event, seconds=1.5)


@every_step
async def test_breaker_heals_by_the_monotonic_clock_despite_wall_clock_steps(
    store_url: str, step: str
) -> None:
    async with run_bench(store_url, FakePostgrest()) as bench:
        await bench.receive(event := World().membership("deleted"))
        bench.postgrest.answer_with(503, headers={"Retry-After": "20"})
        await bench.drain()
        bench.postgrest.heal()
        asked = len(bench.postgrest.requests)
        bench.clock.advance(STEPS[step])
        bench.monotonic.advance(19)
        await bench.drain()
        assert len(bench.postgrest.requests) == asked
        bench.monotonic.advance(3)
        await bench.drain()
        assert await bench.status_of(event) is EventStatus.APPLIED


@every_step
async def test_event_received_before_a_step_and_applied_after_it_is_applied_at_once(
    store_url: str, step: str
) -> None:
    async with run_bench(store_url, FakePostgrest()) as bench:
        await bench.receive(event := World().trip("created"))
        bench.clock.advance(STEPS[step])
        await asyncio.wait_for(bench.drain(), 5)
        assert await bench.status_of(event) is EventStatus.APPLIED
