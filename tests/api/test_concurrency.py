"""Slots for authenticated requests."""

import asyncio
from contextlib import ExitStack

import pytest

from app.api.concurrency import MAXIMUM_BATCHES, ConcurrencyLimiter
from app.domain.errors import Overloaded
from tests.api.relay_harness import RelayStarter, RunningRelay, assert_problem, make_body
from tests.fake_postgrest import is_write


def test_limiter_without_a_free_slot_rejects_until_one_is_released() -> None:
    limiter = ConcurrencyLimiter(2)
    with limiter.acquire():
        with limiter.acquire(), pytest.raises(Overloaded), limiter.acquire():
            pass
        with limiter.acquire():
            pass


def test_limiter_slot_of_a_failed_request_is_free_again() -> None:
    limiter = ConcurrencyLimiter(1)
    with pytest.raises(ZeroDivisionError), limiter.acquire():
        raise ZeroDivisionError
    with limiter.acquire():
        pass


async def test_webhooks_that_wait_for_supabase_use_no_slot_of_others(
    starter: RelayStarter,
) -> None:
    async with starter.start(max_in_flight=1) as relay:
        relay.postgrest.hang(of=is_write)
        waiting = asyncio.create_task(
            relay.send(make_body("user.created"), "evt_1", headers={"prefer": "wait=30"})
        )
        await relay.postgrest.wait_for_writes(1)
        # The dispatcher may write before the event's own slot is released.
        in_flight = relay.app.state.services.in_flight
        await relay.watch_health(lambda _: bool(in_flight.try_acquire()))
        in_flight.release()
        assert not waiting.done()
        # No second webhook may wait, so this one is answered at once.
        other = await relay.send(make_body("trip.created"), "evt_2", headers={"prefer": "wait=30"})
        assert (other.status_code, other.json()["status"]) == (202, "accepted")
        assert "preference-applied" not in other.headers
        relay.postgrest.heal()
        assert (await waiting).json()["status"] == "applied"


async def test_batches_have_slots_of_their_own_and_leave_room_for_events(
    relay: RunningRelay,
) -> None:
    services = relay.app.state.services
    with ExitStack() as slots:
        for _ in range(MAXIMUM_BATCHES):
            slots.enter_context(services.batches_in_flight.acquire())
        batch = {"events": [{"id": "evt_1", **make_body("trip.created")}]}
        refused = await relay.send(batch, "batch_1", path="/webhooks/batch")
        assert_problem(refused, 429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await relay.send(make_body("trip.created"), "evt_2")).status_code == 202
    assert (await relay.send(batch, "batch_1", path="/webhooks/batch")).status_code == 202


async def test_unauthenticated_requests_use_no_slot(starter: RelayStarter) -> None:
    async with starter.start(max_in_flight=1) as relay:
        in_flight = relay.app.state.services.in_flight
        for path in ("/webhooks", "/webhooks/batch"):
            with in_flight.acquire():
                assert_problem(await relay.post(path, b"{}"), 401, "unauthenticated")
