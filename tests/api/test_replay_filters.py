"""`POST /replay` with filters."""

import json
from typing import Any

import pytest

from tests.api.relay_harness import HISTORY, TRIP, USER, RunningRelay, assert_problem, pointers
from tests.api.replaying import assert_nothing_marked, read_states, watch_replay


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
async def test_replay_by_any_filter_applies_the_entities_of_its_dry_run(
    dated: RunningRelay,
    filter_: dict[str, Any],
    matched: int,
    entities: int,
    written: list[str],
) -> None:
    counted = (await dated.replay(filter_ | {"dry_run": True})).json()
    assert (counted["matched_events"], counted["entities"]) == (matched, entities)
    before = len(dated.postgrest.operations)
    response = await dated.replay(filter_)
    assert response.status_code == 202
    assert (response.json()["matched_events"], response.json()["entities"]) == (matched, entities)
    report = await watch_replay(dated, response.json()["replay_id"])
    assert (report["matched_events"], report["entities"]) == (matched, entities)
    assert (report["marked"], report["applied"]) == (entities, entities)
    operations = dated.postgrest.operations[before:]
    assert sorted(operations) == sorted(("upsert", table, 1) for table in written)


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
        ({"error_code": ""}, ["/error_code"]),
        ({"error": "NUL \0"}, ["/error"]),
        ({"error": 23514}, ["/error"]),
        ({"all": True, "error_code": "23514"}, [""]),
        ({"since": "x", "until": "y", "types": [], "status": "z"},
         ["/since", "/until", "/types", "/status"]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)  # fmt: skip
async def test_replay_by_an_invalid_filter_names_every_field_and_queues_nothing(
    storied: RunningRelay, filter_: dict[str, Any], expected: list[str]
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    for body in (filter_, filter_ | {"dry_run": True}):
        problem = assert_problem(await storied.replay(body), 422, "input-invalid")
        assert pointers(problem) == expected
    await assert_nothing_marked(storied, states, writes)
