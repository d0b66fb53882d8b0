"""Places: for those who are being taken and for those who wait."""

import asyncio
from contextlib import ExitStack

import pytest

from app.api.admission import LARGE_AT_ONCE, Admission
from app.domain.errors import Overloaded
from tests.api.running import RelayStarter, RunningRelay, assert_problem, make_body
from tests.fake_postgrest import is_write


def test_admission_with_every_place_taken_refuses_until_one_is_free() -> None:
    admission = Admission(2)
    with admission.take():
        with admission.take(), pytest.raises(Overloaded), admission.take():
            pass
        with admission.take():
            pass


def test_admission_place_of_a_refused_request_is_free_again() -> None:
    admission = Admission(1)
    with pytest.raises(ZeroDivisionError), admission.take():
        raise ZeroDivisionError
    with admission.take():
        pass


def test_admission_of_those_who_wait_is_bounded_and_keeps_nobody_out() -> None:
    admission = Admission(1)
    with admission.wait() as first, admission.wait() as second, admission.take():
        assert (first, second) == (True, False)
    with admission.wait() as third:
        assert third


async def test_webhooks_that_wait_keep_nobody_out(starter: RelayStarter) -> None:
    async with starter.start(max_in_flight=1) as relay:
        relay.postgrest.hang(of=is_write)
        waiting = asyncio.create_task(
            relay.send(make_body("user.created"), "evt_1", headers={"prefer": "wait=30"})
        )
        await relay.postgrest.wait_for_writes(1)
        # The dispatcher may write before the sender's turn to leave its place comes.
        admission = relay.app.state.services.admission
        await relay.watch_health(lambda _: bool(admission.enter()))
        admission.leave()
        assert not waiting.done()
        # Its place is free; among those who wait there is none, so this one is answered at once.
        other = await relay.send(make_body("trip.created"), "evt_2", headers={"prefer": "wait=30"})
        assert (other.status_code, other.json()["status"]) == (202, "accepted")
        assert "preference-applied" not in other.headers
        relay.postgrest.heal()
        assert (await waiting).json()["status"] == "applied"


async def test_batches_are_bounded_by_themselves_and_leave_room_for_events(
    relay: RunningRelay,
) -> None:
    services = relay.app.state.services
    with ExitStack() as places:
        for _ in range(LARGE_AT_ONCE):
            places.enter_context(services.large_admission.take())
        batch = {"events": [{"id": "evt_1", **make_body("trip.created")}]}
        refused = await relay.send(batch, "batch_1", path="/webhooks/batch")
        assert_problem(refused, 429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await relay.send(make_body("trip.created"), "evt_2")).status_code == 202
    assert (await relay.send(batch, "batch_1", path="/webhooks/batch")).status_code == 202
