"""`GET /health` responds in time while the store hangs."""

import asyncio
import dataclasses
import time
from pathlib import Path

import httpx

from tests.api.relay_harness import Body, RelayStarter, RunningRelay, make_body
from tests.stalls import Stall, freeze, mount_file_system

# An answer takes no longer, however the store fares.
ANSWER_SECONDS = 3.5


def is_well(health: Body) -> bool:
    return bool(health["status"] == "ok")


async def poll(relay: RunningRelay, path: str) -> httpx.Response:
    before = time.monotonic()
    response = await relay.http.get(path)
    assert time.monotonic() - before < ANSWER_SECONDS
    return response


async def assert_stalled(relay: RunningRelay) -> None:
    """Check what a relay says from the first poll on, a while after it was last polled."""
    relay.clock.advance(5)
    health = await poll(relay, "/health")
    assert (health.status_code, health.json()["status"]) == (503, "down")
    store = health.json()["checks"]["store"]
    assert store["status"] == "down"
    assert store["reason"].startswith("a commit has been running for ")
    ready = await poll(relay, "/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "down"})
    metrics = await poll(relay, "/metrics")
    assert metrics.status_code == 200
    assert "relay_up 0.0" in metrics.text
    # A restart would not help.
    assert (await poll(relay, "/health/live")).status_code == 200


async def test_health_of_a_store_whose_commits_hang_is_down_and_recovers(
    starter: RelayStarter,
) -> None:
    stall = Stall()
    async with dataclasses.replace(starter, hit=stall).start() as relay:
        await relay.watch_health(is_well)
        stall.begin()
        sending = asyncio.create_task(relay.send(make_body("trip.created")))
        await assert_stalled(relay)
        stall.end()
        assert (await sending).status_code == 202
        await relay.watch_health(is_well)


async def test_health_of_a_store_on_a_frozen_file_system_is_down_and_recovers(
    starter: RelayStarter, tmp_path: Path
) -> None:
    """Where a read may hang as well."""
    with mount_file_system(tmp_path) as mounted:
        async with starter.start(store_url=f"sqlite:///{mounted}/relay.db") as relay:
            await relay.watch_health(is_well)
            assert await relay.send_and_wait(make_body("trip.created")) == "applied"
            with freeze(mounted):
                sending = asyncio.create_task(relay.send(make_body("user.created"), "evt_2"))
                await assert_stalled(relay)
                # Many pollers find the same, and cost no more.
                polls = await asyncio.gather(*(poll(relay, "/health/ready") for _ in range(50)))
                assert {each.status_code for each in polls} == {503}
                assert not sending.done()
            assert (await sending).status_code == 202
            await relay.watch_health(is_well)
