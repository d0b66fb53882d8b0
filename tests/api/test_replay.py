"""`POST /replay`: matching events, and applied entities."""

import json

import pytest

from tests.api.relay_harness import (
    HISTORY,
    NOW,
    RunningRelay,
    in_time,
    make_body,
    number_ids,
    refuse_rows,
)
from tests.api.replaying import assert_nothing_marked, read_states, settle, watch_replay
from tests.fake_postgrest import is_write


async def test_replay_of_ids_writes_their_entities_again(storied: RunningRelay) -> None:
    before = len(storied.postgrest.operations)
    response = await storied.replay({"event_ids": ["evt_member", "evt_user"]})
    assert response.status_code == 202
    body = response.json()
    assert body.keys() == {"replay_id", "matched_events", "entities", "status"}
    assert body["replay_id"]
    assert (body["matched_events"], body["entities"]) == (2, 2)
    await settle(storied)
    assert storied.postgrest.operations[before:] == [
        ("upsert", "users", 1),
        ("upsert", "trip_memberships", 1),
    ]


async def test_replay_restores_rows_that_supabase_lost(storied: RunningRelay) -> None:
    rows = {table: storied.postgrest.rows(table) for table in storied.postgrest.tables}
    for table in storied.postgrest.tables.values():
        table.clear()
    assert (await storied.replay({"all": True})).status_code == 202
    await settle(storied)
    assert {table: storied.postgrest.rows(table) for table in storied.postgrest.tables} == rows


async def test_replay_of_everything_counts_events_and_entities(storied: RunningRelay) -> None:
    body = (await storied.replay({"all": True})).json()
    assert (body["matched_events"], body["entities"]) == (4, 3)


async def test_replay_of_an_id_named_twice_matches_it_once(storied: RunningRelay) -> None:
    body = (await storied.replay({"event_ids": ["evt_user", "evt_user"]})).json()
    assert (body["matched_events"], body["entities"]) == (1, 1)


async def test_replay_of_two_events_of_one_entity_writes_it_once(storied: RunningRelay) -> None:
    before = len(storied.postgrest.operations)
    body = (await storied.replay({"event_ids": ["evt_trip", "evt_trip_again"]})).json()
    assert (body["matched_events"], body["entities"]) == (2, 1)
    await settle(storied)
    assert storied.postgrest.operations[before:] == [("upsert", "trips", 1)]
    assert storied.postgrest.rows("trips") == [HISTORY["evt_trip_again"]["data"]]


async def test_replay_of_a_removed_members_creation_leaves_the_member_removed(
    storied: RunningRelay,
) -> None:
    removal = make_body("membership.deleted", at="2026-01-02T03:00:01Z")
    await storied.send_and_wait(removal, "evt_removed")
    before = len(storied.postgrest.operations)
    response = await storied.replay({"event_ids": ["evt_member"]})
    assert (response.json()["matched_events"], response.json()["entities"]) == (1, 1)
    assert await storied.send_and_wait(removal, "evt_removed") == "applied"
    assert storied.postgrest.operations[before:] == [("delete", "trip_memberships", 1)]
    assert storied.postgrest.rows("trip_memberships") == []


async def test_replay_repeated_writes_again_each_time(storied: RunningRelay) -> None:
    replay_ids = set()
    for _ in range(2):
        before = len(storied.postgrest.operations)
        response = await storied.replay({"event_ids": ["evt_user"]})
        assert (response.status_code, response.json()["entities"]) == (202, 1)
        replay_ids.add(response.json()["replay_id"])
        await settle(storied)
        assert storied.postgrest.operations[before:] == [("upsert", "users", 1)]
    assert len(replay_ids) == 2


async def test_replay_of_the_dead_gives_them_another_life(relay: RunningRelay) -> None:
    await relay.send_and_wait(HISTORY["evt_trip"], "evt_trip")
    refuse_rows(relay.postgrest)
    assert await relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "dead"
    relay.postgrest.heal()
    response = await relay.replay({"status": "dead"})
    assert (response.json()["matched_events"], response.json()["entities"]) == (1, 1)
    assert await relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "applied"
    assert relay.postgrest.rows("users") == [HISTORY["evt_user"]["data"]]
    response = await relay.replay({"status": "dead"})
    assert (response.status_code, response.json()["matched_events"]) == (202, 0)


async def test_replay_of_one_cause_leaves_the_other_dead(relay: RunningRelay) -> None:
    refuse_rows(relay.postgrest, of="users")
    relay.postgrest.fail_row(
        lambda _operation, table, _row: table == "trips", "23514", "another check"
    )
    for event_id in ("evt_user", "evt_trip"):
        assert await relay.send_and_wait(HISTORY[event_id], event_id) == "dead"
    relay.postgrest.heal()
    cause = {"status": "dead", "error_code": "23514", "error": "another check"}
    counted = (await relay.replay({**cause, "dry_run": True})).json()
    assert (counted["matched_events"], counted["entities"]) == (1, 1)
    replay_id = (await relay.replay(cause)).json()["replay_id"]
    report = await watch_replay(relay, replay_id)
    assert (report["applied"], report["filter"]) == (1, cause)
    assert relay.postgrest.rows("trips") == [HISTORY["evt_trip"]["data"]]
    assert (await relay.look_up("evt_user")).json()["status"] == "dead"


async def test_replay_by_status_matches_events_with_that_status(relay: RunningRelay) -> None:
    await relay.send_and_wait(HISTORY["evt_trip"], "evt_trip")
    relay.postgrest.hang(of=is_write)
    await relay.send(HISTORY["evt_user"], "evt_user")
    await relay.send(HISTORY["evt_trip_again"], "evt_trip_again")
    await in_time(relay.postgrest.wait_for_writes(2))
    counts = {}
    for status in ("pending", "applied", "dead"):
        body = (await relay.replay({"status": status, "dry_run": True})).json()
        counts[status] = (body["matched_events"], body["entities"])
    assert counts == {"pending": (2, 2), "applied": (0, 0), "dead": (0, 0)}


async def test_replay_of_ids_and_a_status_takes_those_that_meet_both(
    storied: RunningRelay,
) -> None:
    ids = ["evt_user", "evt_trip"]
    body = (await storied.replay({"event_ids": ids, "status": "applied"})).json()
    # evt_trip is superseded: its trip is applied at a later event.
    assert (body["matched_events"], body["entities"]) == (1, 1)
    assert storied.query("SELECT count(*) FROM replays") == [(1,)]


async def test_replay_while_supabase_is_unavailable_completes_afterwards(
    storied: RunningRelay,
) -> None:
    storied.postgrest.hang(of=is_write)
    before = len(storied.postgrest.writes)
    assert (await storied.replay({"event_ids": ["evt_user"]})).status_code == 202
    await in_time(storied.postgrest.wait_for_writes(before + 1))
    storied.postgrest.tables["users"].clear()
    storied.postgrest.heal()
    assert await storied.send_and_wait(HISTORY["evt_user"], "evt_user") == "applied"
    assert storied.postgrest.rows("users") == [HISTORY["evt_user"]["data"]]


@pytest.mark.parametrize(
    ("filter_", "matched", "entities"),
    [
        ({"all": True}, 4, 3),
        ({"status": "applied"}, 3, 3),
        ({"event_ids": ["evt_trip", "evt_trip_again"]}, 2, 1),
    ],
    ids=["all", "status", "event_ids"],
)
async def test_replay_run_dry_counts_and_marks_nothing(
    storied: RunningRelay, filter_: dict[str, object], matched: int, entities: int
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    response = await storied.replay(filter_ | {"dry_run": True})
    assert response.status_code == 200
    assert response.json() == {
        "replay_id": None,
        "matched_events": matched,
        "entities": entities,
        "status": "dry_run",
    }
    await assert_nothing_marked(storied, states, writes)


async def test_replay_is_audited(storied: RunningRelay) -> None:
    storied.clock.advance(7.5)
    first = await storied.replay({"event_ids": ["evt_user"]}, sub="ops@nomadcrew.test")
    second = await storied.replay({"status": "applied"}, sub=None)
    columns = "replay_id, requested_at, requested_by, filter, status, matched_events, entities"
    rows = storied.query(f"SELECT {columns} FROM replays ORDER BY rowid")  # noqa: S608 - ours
    at = int((NOW + 7.5) * 1_000_000)
    assert [(*row[:3], json.loads(row[3]), *row[4:]) for row in rows] == [
        (
            first.json()["replay_id"],
            at,
            "ops@nomadcrew.test",
            {"event_ids": ["evt_user"]},
            "completed",
            1,
            1,
        ),
        (
            second.json()["replay_id"],
            at,
            None,
            {"status": "applied"},
            "completed",
            second.json()["matched_events"],
            second.json()["entities"],
        ),
    ]


async def test_replay_of_many_ids_marks_all(relay: RunningRelay) -> None:
    bodies = [make_body("user.created", id=id_) for id_ in number_ids(600)]
    items = [{"id": f"evt_{n}", **body} for n, body in enumerate(bodies)]
    await relay.send_batch(*items)
    for n in (0, 599):
        await relay.send_and_wait(bodies[n], f"evt_{n}")
    relay.postgrest.tables["users"].clear()
    body = (await relay.replay({"event_ids": [item["id"] for item in items]})).json()
    assert (body["matched_events"], body["entities"]) == (600, 600)
    for n in (0, 599):
        await relay.send_and_wait(bodies[n], f"evt_{n}")
    health = await relay.watch_health(lambda body: body["backlog"]["pending"] == 0)
    assert health["backlog"]["dead"] == 0
    assert len(relay.postgrest.rows("users")) == 600
