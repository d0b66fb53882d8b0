"""Having Supabase written to again: what is matched, what is refused, what comes of it."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.api.bodies import REPLAY_BYTES
from app.domain.criteria import Criteria
from app.store.store import Store
from tests.api.running import (
    HISTORY,
    NOW,
    REFUSAL,
    TRIP,
    USER,
    Body,
    RelayStarter,
    RunningRelay,
    assert_problem,
    full_disk,
    in_time,
    make_body,
    number_ids,
    pointers,
    stream,
)
from tests.fake_postgrest import is_write
from tests.store.actions import begin_replay


@pytest.fixture
async def storied(relay: RunningRelay) -> RunningRelay:
    """A relay with a history that Supabase holds: four events of three entities."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    return relay


async def settle(relay: RunningRelay) -> None:
    """Wait until all of the history is settled again."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)


def tables_written(requests: list[httpx.Request]) -> list[str]:
    return [request.url.path.rpartition("/")[2] for request in requests]


def read_states(relay: RunningRelay) -> list[tuple[object, ...]]:
    return relay.query("SELECT kind, key, state, revision, row FROM entities ORDER BY kind, key")


async def assert_nothing_marked(
    relay: RunningRelay, states: list[tuple[object, ...]], writes: int
) -> None:
    assert read_states(relay) == states
    assert relay.query("SELECT count(*) FROM replays") == [(0,)]
    await settle(relay)
    assert len(relay.postgrest.writes) == writes


async def test_replay_of_ids_writes_their_entities_again(storied: RunningRelay) -> None:
    before = len(storied.postgrest.writes)
    response = await storied.replay({"event_ids": ["evt_member", "evt_user"]})
    assert response.status_code == 202
    body = response.json()
    assert body.keys() == {"replay_id", "matched_events", "entities", "status"}
    assert body["replay_id"]
    assert (body["matched_events"], body["entities"]) == (2, 2)
    await settle(storied)
    assert tables_written(storied.postgrest.writes[before:]) == ["users", "trip_memberships"]


async def test_replay_restores_what_supabase_lost(storied: RunningRelay) -> None:
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
    before = len(storied.postgrest.writes)
    body = (await storied.replay({"event_ids": ["evt_trip", "evt_trip_again"]})).json()
    assert (body["matched_events"], body["entities"]) == (2, 1)
    await settle(storied)
    assert tables_written(storied.postgrest.writes[before:]) == ["trips"]
    assert storied.postgrest.rows("trips") == [HISTORY["evt_trip_again"]["data"]]


async def test_replay_of_a_removed_members_creation_leaves_him_removed(
    storied: RunningRelay,
) -> None:
    removal = make_body("membership.deleted", at="2026-01-02T03:00:01Z")
    await storied.send_and_wait(removal, "evt_removed")
    before = len(storied.postgrest.writes)
    response = await storied.replay({"event_ids": ["evt_member"]})
    assert (response.json()["matched_events"], response.json()["entities"]) == (1, 1)
    assert await storied.send_and_wait(removal, "evt_removed") == "applied"
    assert [request.method for request in storied.postgrest.writes[before:]] == ["DELETE"]
    assert storied.postgrest.rows("trip_memberships") == []


async def test_replay_repeated_writes_again_each_time(storied: RunningRelay) -> None:
    replay_ids = set()
    for _ in range(2):
        before = len(storied.postgrest.writes)
        response = await storied.replay({"event_ids": ["evt_user"]})
        assert (response.status_code, response.json()["entities"]) == (202, 1)
        replay_ids.add(response.json()["replay_id"])
        await settle(storied)
        assert tables_written(storied.postgrest.writes[before:]) == ["users"]
    assert len(replay_ids) == 2


async def test_replay_of_the_dead_gives_them_another_life(relay: RunningRelay) -> None:
    await relay.send_and_wait(HISTORY["evt_trip"], "evt_trip")
    relay.postgrest.answer_with(400, REFUSAL, of=is_write)
    assert await relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "dead"
    relay.postgrest.heal()
    response = await relay.replay({"status": "dead"})
    assert (response.json()["matched_events"], response.json()["entities"]) == (1, 1)
    assert await relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "applied"
    assert relay.postgrest.rows("users") == [HISTORY["evt_user"]["data"]]
    response = await relay.replay({"status": "dead"})
    assert (response.status_code, response.json()["matched_events"]) == (202, 0)


async def test_replay_by_status_matches_events_that_stand_there(relay: RunningRelay) -> None:
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


async def test_replay_while_supabase_is_gone_is_done_when_it_is_back(
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


# --- what is refused ---


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, [""]),
        ({"dry_run": True}, [""]),
        ({"all": False}, [""]),
        ({"event_ids": None, "status": None}, [""]),
        ({"all": True, "status": "dead"}, [""]),
        ({"all": True, "event_ids": ["evt_user"]}, [""]),
        ({"event_ids": []}, ["/event_ids"]),
        ({"event_ids": "evt_user"}, ["/event_ids"]),
        ({"event_ids": ["evt_user", 7, None]}, ["/event_ids/1", "/event_ids/2"]),
        ({"event_ids": ["x"] * 10_001}, ["/event_ids"]),
        ({"status": "superseded"}, ["/status"]),
        ({"status": "DEAD"}, ["/status"]),
        ({"all": "true"}, ["/all"]),
        ({"all": 1}, ["/all"]),
        ({"all": True, "dry_run": "no"}, ["/dry_run"]),
        ({"all": True, "dryrun": True}, ["/dryrun"]),
        ({"event_ids": ["evt_user"], "a/b~c": 1}, ["/a~1b~0c"]),
        ([], [""]),
        ("all", [""]),
        (None, [""]),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_replay_of_another_form_names_every_place_and_marks_nothing(
    storied: RunningRelay, filter_: object, expected: list[str]
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    problem = assert_problem(await storied.replay(filter_), 422, "input-invalid")
    assert pointers(problem) == expected
    await assert_nothing_marked(storied, states, writes)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("unknown", ["evt_none", "", "\x00", "\ud800", "x" * 1000, "é"])
async def test_replay_of_an_unknown_id_names_its_place_and_marks_nothing(
    storied: RunningRelay, unknown: str, dry_run: bool
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    filter_ = {"event_ids": ["evt_user", unknown, "evt_trip", unknown], "dry_run": dry_run}
    problem = assert_problem(await storied.replay(filter_), 422, "input-invalid")
    assert pointers(problem) == ["/event_ids/1", "/event_ids/3"]
    await assert_nothing_marked(storied, states, writes)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"all": true, "all": true}', b'{"all": NaN}', b"[" * 9999]
)
async def test_replay_of_broken_json_is_invalid_to_an_operator_only(
    relay: RunningRelay, content: bytes
) -> None:
    response = await relay.post("/replay", content)
    assert_problem(response, 401, "unauthenticated")
    response = await relay.post("/replay", content, relay.bear("events:read"))
    assert_problem(response, 403, "scope-missing")
    response = await relay.post("/replay", content, relay.bear("replay:write"))
    problem = assert_problem(response, 422, "input-invalid")
    assert pointers(problem) == [""]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic b3BzOm9wcw==", "Bearer a.b.c", "Bearer \u00e9"],
)
async def test_replay_without_a_token_is_not_authentic(
    relay: RunningRelay, authorization: str
) -> None:
    response = await relay.post("/replay", b'{"all": true}', {"authorization": authorization})
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_replay_with_the_signature_of_a_webhook_is_not_authentic(
    relay: RunningRelay,
) -> None:
    response = await relay.send({"all": True}, path="/replay")
    assert_problem(response, 401, "unauthenticated")


async def test_replay_without_jwt_settings_is_not_configured(starter: RelayStarter) -> None:
    async with starter.start(jwt_secret=None) as relay:
        for headers in ({}, relay.bear("replay:write")):
            response = await relay.post("/replay", b'{"all": true}', headers)
            assert_problem(response, 403, "operator-access-not-configured")


@pytest.mark.parametrize("subject", ["\ud800", "\x00", "x" * 5000])
async def test_replay_by_an_odd_subject_is_done_or_refused(
    relay: RunningRelay, subject: str
) -> None:
    response = await relay.replay({"all": True}, sub=subject)
    assert response.status_code in (202, 401)
    assert relay.query("SELECT count(*) FROM replays") == [(int(response.status_code == 202),)]


async def test_replay_of_the_largest_size_is_read_and_a_byte_more_is_not(
    relay: RunningRelay,
) -> None:
    content = b'{"all": true}'.ljust(REPLAY_BYTES)
    response = await relay.post("/replay", content, relay.bear("replay:write"))
    assert response.status_code == 202
    for body in (content + b" ", stream(content + b" ")):
        response = await relay.post("/replay", body, relay.bear("replay:write"))
        assert_problem(response, 413, "body-too-large")


async def test_replay_not_of_json_is_unsupported(relay: RunningRelay) -> None:
    headers = {**relay.bear("replay:write"), "content-type": "text/plain"}
    response = await relay.post("/replay", b'{"all": true}', headers)
    assert_problem(response, 415, "media-type-unsupported")


async def test_replay_that_cannot_be_committed_is_told_to_come_back(
    storied: RunningRelay,
) -> None:
    states = read_states(storied)
    with full_disk():
        response = await storied.replay({"all": True})
    assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert read_states(storied) == states
    assert (await storied.replay({"all": True})).status_code == 202


async def test_replay_whose_sender_is_gone_is_no_fault(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    # What the application raises, the server logs as an error: nobody need look at this.
    await relay.break_off("/replay", b'{"all": true}', relay.bear("replay:write"))
    assert relay.query("SELECT count(*) FROM replays") == [(0,)]
    assert "ERROR" not in caplog.text


async def test_replay_resends_what_is_known_of_a_removed_user_only(storied: RunningRelay) -> None:
    removal = make_body("user.deleted", at="2026-01-02T03:00:01Z")
    await storied.send_and_wait(removal, "evt_gone")
    before = len(storied.postgrest.writes)
    await storied.replay({"event_ids": ["evt_user"]})
    await storied.send_and_wait(removal, "evt_gone")
    (request,) = storied.postgrest.writes[before:]
    assert (request.method, request.url.params["id"]) == ("DELETE", f"in.({USER})")


# --- which events ---


@pytest.fixture
async def dated(relay: RunningRelay) -> RunningRelay:
    """A relay with the same history, received a minute apart: at :04, :05, :06 and :07."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
        relay.clock.advance(60)
    return relay


@pytest.mark.parametrize(
    ("filter_", "matched", "entities", "written"),
    [
        ({"since": "2026-01-02T03:06:05Z"}, 2, 2, ["trips", "trip_memberships"]),
        ({"since": "2026-01-02T03:06:05.000001Z"}, 1, 1, ["trips"]),
        ({"until": "2026-01-02T03:05:05Z"}, 1, 1, ["users"]),
        ({"until": "2026-01-02T04:05:05.000001+01:00"}, 2, 2, ["users", "trips"]),
        (
            {"since": "2026-01-02T03:05:05Z", "until": "2026-01-02T03:06:05Z"},
            1,
            1,
            ["trips"],
        ),
        ({"types": ["trip.*"]}, 2, 1, ["trips"]),
        ({"types": ["trip.updated"]}, 1, 1, ["trips"]),
        ({"types": ["trip.created", "user.*"]}, 2, 2, ["users", "trips"]),
        ({"entity": {"kind": "trip", "key": TRIP}}, 2, 1, ["trips"]),
        ({"entity": {"kind": "membership", "key": f"{TRIP}/{USER.upper()}"}}, 1, 1,
         ["trip_memberships"]),
        ({"entity": {"kind": "trip", "key": USER}}, 0, 0, []),
        ({"entity": {"kind": "trip", "key": TRIP}, "types": ["user.*"]}, 0, 0, []),
        ({"entity": {"kind": "trip", "key": TRIP}, "status": "applied"}, 1, 1, ["trips"]),
        ({"types": ["trip.*"], "status": "applied"}, 1, 1, ["trips"]),
        ({"types": ["trip.created"], "status": "applied"}, 0, 0, []),
        ({"event_ids": ["evt_user", "evt_trip"], "types": ["trip.*"]}, 1, 1, ["trips"]),
        ({"event_ids": ["evt_user"], "since": "2026-01-02T03:05:00Z"}, 0, 0, []),
        ({"since": "2027-01-01T00:00:00Z"}, 0, 0, []),
        ({"since": "0001-01-01T00:00:00+14:00"}, 4, 3, ["users", "trips", "trip_memberships"]),
        ({"status": "dead"}, 0, 0, []),
        (
            {"event_ids": ["evt_trip"], "since": "2026-01-02T03:00:00Z",
             "until": "2026-01-02T04:00:00Z", "types": ["trip.created"],
             "entity": {"kind": "trip", "key": TRIP}},
            1,
            1,
            ["trips"],
        ),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
async def test_replay_by_any_filter_writes_what_its_dry_run_has_counted(
    dated: RunningRelay,
    filter_: dict[str, Any],
    matched: int,
    entities: int,
    written: list[str],
) -> None:
    counted = (await dated.replay(filter_ | {"dry_run": True})).json()
    assert (counted["matched_events"], counted["entities"]) == (matched, entities)
    before = len(dated.postgrest.writes)
    response = await dated.replay(filter_)
    assert response.status_code == 202
    assert (response.json()["matched_events"], response.json()["entities"]) == (matched, entities)
    report = await watch_replay(dated, response.json()["replay_id"])
    assert (report["matched_events"], report["entities"]) == (matched, entities)
    assert (report["marked"], report["applied"]) == (entities, entities)
    assert sorted(tables_written(dated.postgrest.writes[before:])) == sorted(written)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"since": "2026-01-02T03:04:05Z", "until": "2026-01-02T03:04:05Z"}, [""]),
        ({"since": "2026-01-02T03:04:06Z", "until": "2026-01-02T03:04:05Z"}, [""]),
        ({"since": "yesterday"}, ["/since"]),
        ({"since": 1767323045}, ["/since"]),
        ({"until": "2026-01-02T03:04:05"}, ["/until"]),
        ({"types": []}, ["/types"]),
        ({"types": "trip.*"}, ["/types"]),
        ({"types": ["trip.renamed"]}, ["/types"]),
        ({"entity": {"kind": "trip"}}, ["/entity"]),
        ({"entity": f"trip/{TRIP}"}, ["/entity"]),
        ({"entity": {"kind": "trip", "key": "1"}}, ["/entity"]),
        ({"all": True, "since": "2026-01-02T03:04:05Z"}, [""]),
        ({"all": True, "entity": {"kind": "trip", "key": TRIP}}, [""]),
        ({"limit": 7, "status": "dead"}, ["/limit"]),
        ({"since": "x", "until": "y", "types": [], "status": "z"},
         ["/since", "/until", "/types", "/status"]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)  # fmt: skip
async def test_replay_by_a_wrong_filter_names_every_place_and_marks_nothing(
    storied: RunningRelay, filter_: dict[str, Any], expected: list[str]
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    for body in (filter_, filter_ | {"dry_run": True}):
        problem = assert_problem(await storied.replay(body), 422, "input-invalid")
        assert pointers(problem) == expected
    await assert_nothing_marked(storied, states, writes)


# --- what came of it ---


async def look_at_replay(relay: RunningRelay, replay_id: str) -> httpx.Response:
    return await relay.http.get(f"/replay/{replay_id}", headers=relay.bear("replay:write"))


async def watch_replay(relay: RunningRelay, replay_id: str) -> Body:
    """Look at a replay until all that it marks is settled."""
    async with asyncio.timeout(10):
        while True:
            response = await look_at_replay(relay, replay_id)
            assert response.status_code == 200, response.text
            report: Body = response.json()
            if report["status"] != "running" and not report["waiting"]:
                return report


async def test_replay_is_told_of_as_it_was_asked_for(storied: RunningRelay) -> None:
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


async def test_replay_of_everything_is_told_of_with_an_empty_filter(storied: RunningRelay) -> None:
    replay_id = (await storied.replay({"all": True}, sub=None)).json()["replay_id"]
    report = await watch_replay(storied, replay_id)
    assert (report["filter"], report["requested_by"]) == ({}, None)
    assert (report["matched_events"], report["entities"]) == (4, 3)


async def test_replay_by_types_alone_is_told_of_without_any_instant(storied: RunningRelay) -> None:
    replay_id = (await storied.replay({"types": ["trip.*"]})).json()["replay_id"]
    report = await watch_replay(storied, replay_id)
    assert report["filter"] == {"types": ["trip.created", "trip.updated", "trip.deleted"]}


async def test_replay_tells_what_waits_and_what_died(storied: RunningRelay) -> None:
    storied.postgrest.hang(of=is_write)
    replay_id = (await storied.replay({"all": True})).json()["replay_id"]
    report = (await look_at_replay(storied, replay_id)).json()
    assert (report["status"], report["marked"], report["waiting"]) == ("completed", 3, 3)
    storied.postgrest.heal()
    storied.postgrest.answer_with(
        400, REFUSAL, of=lambda request: is_write(request) and "/trips" in request.url.path
    )
    report = await watch_replay(storied, replay_id)
    assert (report["applied"], report["dead"], report["waiting"]) == (2, 1, 0)


async def test_replay_taken_over_by_another_says_so(storied: RunningRelay) -> None:
    storied.postgrest.hang(of=is_write)
    ids = [
        (await storied.replay(filter_)).json()["replay_id"]
        for filter_ in ({"all": True}, {"types": ["trip.*"]})
    ]
    storied.postgrest.heal()
    first, second = [await watch_replay(storied, replay_id) for replay_id in ids]
    assert (first["marked"], first["applied"], first["superseded"]) == (3, 2, 1)
    assert (second["marked"], second["applied"], second["superseded"]) == (1, 1, 0)


async def test_replays_asked_for_together_all_complete(storied: RunningRelay) -> None:
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
    await store.advance_replay(begun.number, begun.requested_at, 7)
    await store.close()
    async with starter.start() as relay:
        report = await watch_replay(relay, begun.replay_id)
    assert (report["status"], report["marked"], report["applied"]) == ("completed", 20, 20)


@pytest.mark.parametrize(
    "replay_id",
    ["6b1f0c1e-0000-4000-8000-000000000000", "nowhere", "%00", "%FF", "x" * 5000, "%F0%9F%98%80"],
)
async def test_replay_that_nobody_asked_for_is_not_found(
    relay: RunningRelay, replay_id: str
) -> None:
    await relay.replay({"all": True})
    assert_problem(await look_at_replay(relay, replay_id), 404, "replay-not-found")


@pytest.mark.parametrize("path", ["/replay", "/replay?limit=0", "/replay/nowhere"])
async def test_replays_are_shown_to_nobody_without_the_scope(
    relay: RunningRelay, path: str
) -> None:
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
    headers = relay.bear("replay:write")
    whole = (await relay.http.get(f"/replay/{replay_id}", headers=headers)).json()
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
async def test_replays_by_a_wrong_query_are_refused(
    relay: RunningRelay, query: str, expected: list[str]
) -> None:
    response = await relay.http.get(f"/replay?{query}", headers=relay.bear("replay:write"))
    assert pointers(assert_problem(response, 422, "input-invalid")) == expected


async def test_replays_by_a_cursor_of_events_are_refused(storied: RunningRelay) -> None:
    page = await storied.http.get("/events?limit=1", headers=storied.bear("events:read"))
    response = await list_replays(storied, cursor=page.json()["next_cursor"])
    assert pointers(assert_problem(response, 422, "input-invalid")) == ["/query/cursor"]


async def test_replay_in_a_store_that_cannot_be_read_is_told_to_come_back(
    relay: RunningRelay,
) -> None:
    replay_id = (await relay.replay({"all": True})).json()["replay_id"]
    relay.query("ALTER TABLE replays RENAME TO hidden")
    for response in (await look_at_replay(relay, replay_id), await list_replays(relay)):
        assert_problem(response, 503, "store-unavailable")
        assert int(response.headers["retry-after"]) >= 1
    relay.query("ALTER TABLE hidden RENAME TO replays")
