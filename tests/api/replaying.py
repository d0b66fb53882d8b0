"""Steps of tests with replays."""

import asyncio

import httpx

from tests.api.relay_harness import HISTORY, Body, RunningRelay


async def settle(relay: RunningRelay) -> None:
    """Send the history, whether or not it is known, and wait until all of it is settled."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)


def read_states(relay: RunningRelay) -> list[tuple[object, ...]]:
    return relay.query("SELECT kind, key, state, revision, row FROM entities ORDER BY kind, key")


async def assert_nothing_marked(
    relay: RunningRelay, states: list[tuple[object, ...]], writes: int
) -> None:
    assert read_states(relay) == states
    assert relay.query("SELECT count(*) FROM replays") == [(0,)]
    await settle(relay)
    assert len(relay.postgrest.writes) == writes


async def look_at_replay(relay: RunningRelay, replay_id: str) -> httpx.Response:
    return await relay.http.get(f"/replay/{replay_id}", headers=relay.bear("replay:write"))


async def watch_replay(relay: RunningRelay, replay_id: str) -> Body:
    """Look at a replay until all that it marks is settled."""
    async with asyncio.timeout(60):
        while True:
            response = await look_at_replay(relay, replay_id)
            assert response.status_code == 200, response.text
            report: Body = response.json()
            if report["status"] != "running" and not report["waiting"]:
                return report
