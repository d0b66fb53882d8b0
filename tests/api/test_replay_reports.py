"""`GET /replay`: progress of replays, also after a restart."""

import asyncio
from typing import Any

import httpx
import pytest

from app.domain.criteria import Criteria
from app.store.store import Store
from tests.api.relay_harness import (
    TRIP,
    USER,
    RelayStarter,
    RunningRelay,
    assert_problem,
    make_body,
    number_ids,
    pointers,
    refuse_rows,
)
from tests.api.replaying import look_at_replay, watch_replay
from tests.fake_postgrest import is_write
from tests.store.store_steps import advance_replay, begin_replay


async def test_replay_is_shown_with_its_requested_filter(storied: RunningRelay) -> None:
    filter_ = {
        "event_ids": ["evt_member", "evt_user"],
        "since": "2026-01-02T03:00:00Z",
        "until": "2026-01-02T04:00:00.5Z",
        "types": ["user.created", "membership.created"],
        "entity": {"kind": "membership", "key": f"{TRIP}/{USER}"},
        "status": "applied",
    }
    storied.clock.advance(1.5)
    replay_id = (await storied.replay(filter_)).json()["replay_id"]
    assert await watch_replay(storied, replay_id) == {
        "replay_id": replay_id,
        "requested_at": "2026-01-02T03:04:06.500000Z",
        "requested_by": "ops@nomadcrew.test",
        "filter": filter_ | {"until": "2026-01-02T04:00:00.500000Z"},
        "status": "completed",
        "matched_events": 1,
        "entities": 1,
        "marked": 1,
        "applied": 1,
        "waiting": 0,
        "dead": 0,
        "superseded": 0,
    }


async def test_replay_of_everything_is_shown_with_an_empty_filter(storied: RunningRelay) -> None:
    replay_id = (await storied.replay({"all": True}, sub=None)).json()["replay_id"]
    report = await watch_replay(storied, replay_id)
    assert (report["filter"], report["requested_by"]) == ({}, None)
    assert (report["matched_events"], report["entities"]) == (4, 3)


async def test_replay_by_types_only_shows_no_instant(storied: RunningRelay) -> None:
    replay_id = (await storied.replay({"types": ["trip.*"]})).json()["replay_id"]
    report = await watch_replay(storied, replay_id)
    assert report["filter"] == {"types": ["trip.created", "trip.updated", "trip.deleted"]}


async def test_replay_counts_waiting_and_dead_entities(storied: RunningRelay) -> None:
    storied.postgrest.hang(of=is_write)
    replay_id = (await storied.replay({"all": True})).json()["replay_id"]
    report = (await look_at_replay(storied, replay_id)).json()
    assert (report["status"], report["marked"], report["waiting"]) == ("completed", 3, 3)
    storied.postgrest.heal()
    refuse_rows(storied.postgrest, of="trips")
    report = await watch_replay(storied, replay_id)
    assert (report["applied"], report["dead"], report["waiting"]) == (2, 1, 0)


async def test_replay_superseded_by_another_shows_it(storied: RunningRelay) -> None:
    storied.postgrest.hang(of=is_write)
    ids = [
        (await storied.replay(filter_)).json()["replay_id"]
        for filter_ in ({"all": True}, {"types": ["trip.*"]})
    ]
    storied.postgrest.heal()
    first, second = [await watch_replay(storied, replay_id) for replay_id in ids]
    assert (first["marked"], first["applied"], first["superseded"]) == (3, 2, 1)
    assert (second["marked"], second["applied"], second["superseded"]) == (1, 1, 0)


async def test_replays_requested_concurrently_all_complete(storied: RunningRelay) -> None:
    responses = await asyncio.gather(*(storied.replay({"all": True}) for _ in range(50)))
    assert {response.status_code for response in responses} == {202}
    ids = {response.json()["replay_id"] for response in responses}
    assert len(ids) == 50
    for replay_id in ids:
        report = await watch_replay(storied, replay_id)
        assert (report["status"], report["marked"]) == ("completed", 3)
        assert report["applied"] + report["superseded"] == 3
    health = await storied.watch_health(lambda body: body["backlog"]["pending"] == 0)
    assert health["backlog"]["dead"] == 0


async def test_replay_that_a_relay_had_begun_is_completed_by_the_next(
    starter: RelayStarter,
) -> None:
    bodies = [make_body("user.created", id=id_) for id_ in number_ids(20)]
    async with starter.start() as relay:
        await relay.send_batch(*({"id": f"evt_{n}", **body} for n, body in enumerate(bodies)))
        await relay.watch_health(lambda body: body["backlog"]["pending"] == 0)
    store = await Store.open(f"sqlite:///{starter.folder / 'relay.db'}")
    begun = await begin_replay(store, Criteria())
    await advance_replay(store, begun.number, begun.requested_at, 7)
    await store.close()
    async with starter.start() as relay:
        report = await watch_replay(relay, begun.replay_id)
    assert (report["status"], report["marked"], report["applied"]) == ("completed", 20, 20)


@pytest.mark.parametrize(
    "replay_id",
    ["6b1f0c1e-0000-4000-8000-000000000000", "nowhere", "%00", "%FF", "x" * 5000, "%F0%9F%98%80"],
)
async def test_replay_of_an_unknown_replay_id_is_not_found(
    relay: RunningRelay, replay_id: str
) -> None:
    await relay.replay({"all": True})
    assert_problem(await look_at_replay(relay, replay_id), 404, "replay-not-found")


@pytest.mark.parametrize("path", ["/replay", "/replay?limit=0", "/replay/nowhere"])
async def test_replays_without_the_scope_are_not_shown(relay: RunningRelay, path: str) -> None:
    assert_problem(await relay.http.get(path), 401, "unauthenticated")
    other = relay.bear("events:read webhooks:write")
    assert_problem(await relay.http.get(path, headers=other), 403, "scope-missing")


async def list_replays(relay: RunningRelay, **query: Any) -> httpx.Response:
    return await relay.http.get("/replay", params=query, headers=relay.bear("replay:write"))


async def test_replay_of_many_ids_is_listed_by_the_first_and_shown_whole(
    relay: RunningRelay,
) -> None:
    bodies = [make_body("user.created", id=id_) for id_ in number_ids(25)]
    await relay.send_batch(*({"id": f"evt_{n}", **body} for n, body in enumerate(bodies)))
    ids = [f"evt_{n}" for n in range(25)]
    replay_id = (await relay.replay({"event_ids": ids})).json()["replay_id"]
    (listed,) = (await list_replays(relay)).json()["replays"]
    assert listed["filter"] == {"event_ids": ids[:20], "event_ids_omitted": 5}
    whole = (await look_at_replay(relay, replay_id)).json()
    assert whole["filter"] == {"event_ids": ids}


async def test_replays_are_listed_newest_first_page_by_page(storied: RunningRelay) -> None:
    ids = [(await storied.replay({"all": True})).json()["replay_id"] for _ in range(5)]
    assert (await list_replays(storied)).json()["next_cursor"] is None
    listed, query = list[str](), dict[str, Any](limit=2)
    for size in (2, 2, 1):
        body = (await list_replays(storied, **query)).json()
        assert len(body["replays"]) == size
        listed += [report["replay_id"] for report in body["replays"]]
        # One that is asked for meanwhile changes nothing in the pages that follow.
        await storied.replay({"all": True})
        query["cursor"] = body["next_cursor"]
    assert (listed, query["cursor"]) == (ids[::-1], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", ["/query/limit"]),
        ("limit=201", ["/query/limit"]),
        ("limit=ten", ["/query/limit"]),
        ("limit=", ["/query/limit"]),
        ("limit=1&limit=2", ["/query/limit"]),
        ("cursor=", ["/query/cursor"]),
        ("cursor=nowhere", ["/query/cursor"]),
        ("status=dead", ["/query/status"]),
        ("a/b=1&limit=0", ["/query/limit", "/query/a~1b"]),
    ],
)
async def test_replays_by_a_wrong_query_are_rejected(
    relay: RunningRelay, query: str, expected: list[str]
) -> None:
    response = await relay.http.get(f"/replay?{query}", headers=relay.bear("replay:write"))
    assert pointers(assert_problem(response, 422, "input-invalid")) == expected


async def test_replays_by_a_cursor_of_events_are_rejected(storied: RunningRelay) -> None:
    page = await storied.http.get("/events?limit=1", headers=storied.bear("events:read"))
    response = await list_replays(storied, cursor=page.json()["next_cursor"])
    assert pointers(assert_problem(response, 422, "input-invalid")) == ["/query/cursor"]


async def test_replay_in_an_unreadable_store_gets_a_503(
    relay: RunningRelay,
) -> None:
    replay_id = (await relay.replay({"all": True})).json()["replay_id"]
    relay.query("ALTER TABLE replays RENAME TO hidden")
    for response in (await look_at_replay(relay, replay_id), await list_replays(relay)):
        assert_problem(response, 503, "store-unavailable")
        assert int(response.headers["retry-after"]) >= 1
    relay.query("ALTER TABLE hidden RENAME TO replays")
