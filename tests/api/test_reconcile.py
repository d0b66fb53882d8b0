"""`/reconcile`: checks of Supabase and their repair, over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.relay_harness import TRIP, USER, Body, RelayStarter, RunningRelay, assert_problem
from tests.api.replaying import settle
from tests.api.test_metrics import read_samples

STRANGER = "99999999-e89b-12d3-a456-426614174009"


async def post(relay: RunningRelay, body: object, scope: str = "events:read replay:write") -> Any:
    response = await relay.http.post("/reconcile", json=body, headers=relay.bear(scope))
    assert response.status_code == 202, response.text
    return response.json()


async def get(relay: RunningRelay, path: str) -> httpx.Response:
    return await relay.http.get(path, headers=relay.bear("events:read"))


async def watch(relay: RunningRelay, body: object = {}) -> Body:
    """Request a check and look at it until it has finished."""
    requested = await post(relay, body)
    async with asyncio.timeout(60):
        while True:
            report: Body = (await get(relay, f"/reconcile/{requested['reconcile_id']}")).json()
            if report["status"] != "running":
                return report


def add_stranger(relay: RunningRelay) -> None:
    """Have somebody add a membership in Supabase, past the relay."""
    relay.postgrest.tables["trip_memberships"][TRIP, STRANGER] = {
        "trip_id": TRIP,
        "user_id": STRANGER,
        "role": "OWNER",
        "status": "ACTIVE",
    }


async def list_differences(relay: RunningRelay, report: Body) -> list[Body]:
    response = await get(relay, f"/reconcile/{report['reconcile_id']}/differences")
    found: list[Body] = response.json()["differences"]
    return found


async def test_check_of_an_equal_supabase_finds_nothing(storied: RunningRelay) -> None:
    report = await watch(storied)
    assert report["status"] == "completed"
    assert (report["differences"], report["plan_id"], report["repair"]) == (0, None, "none")
    assert report["requested_by"] == "ops@nomadcrew.test"
    assert {table["kind"]: table["rows"] for table in report["tables"]} == {
        "membership": 1,
        "trip": 1,
        "user": 1,
    }


async def test_check_shows_what_leaks_first_and_no_values(storied: RunningRelay) -> None:
    storied.postgrest.tables["users"][USER,]["email"] = "mallory@example.com"
    add_stranger(storied)
    report = await watch(storied)
    assert (report["differences"], report["removals"]) == (2, 1)
    differences = await list_differences(storied, report)
    assert differences == [
        {
            "kind": "membership",
            "key": f"{TRIP}/{STRANGER}",
            "difference": "extra",
            "effect": "leaks",
            "origin": "unknown_to_us",
            "columns": [],
            "repair": "delete",
            "note": None,
        },
        {
            "kind": "user",
            "key": USER,
            "difference": "different",
            "effect": "other",
            "origin": "changed_by_somebody_else",
            "columns": ["email"],
            "repair": "write",
            "note": None,
        },
    ]
    assert len(storied.postgrest.rows("trip_memberships")) == 2


async def test_differences_are_listed_page_by_page(storied: RunningRelay) -> None:
    add_stranger(storied)
    storied.postgrest.tables["users"].clear()
    report = await watch(storied)
    path = f"/reconcile/{report['reconcile_id']}/differences?limit=1"
    first = (await get(storied, path)).json()
    second = (await get(storied, f"{path}&cursor={first['next_cursor']}")).json()
    assert [each["effect"] for each in first["differences"]] == ["leaks"]
    assert [each["effect"] for each in second["differences"]] == ["denies"]
    assert second["next_cursor"] is None
    problem = await get(storied, f"{path}&cursor=1.000000000000")
    assert_problem(problem, 422, "input-invalid")


async def test_repair_is_refused_until_its_plan_is_approved(storied: RunningRelay) -> None:
    for number in range(2):
        storied.postgrest.tables["trip_memberships"][TRIP, f"{number}{STRANGER[1:]}"] = {
            "trip_id": TRIP,
            "user_id": f"{number}{STRANGER[1:]}",
            "role": "OWNER",
            "status": "ACTIVE",
        }
    refused = await watch(storied, {"repair": True})
    assert (refused["repair"], refused["repaired"]) == ("refused", 0)
    assert refused["plan_id"] in refused["refusal"]
    health = (await storied.http.get("/health")).json()
    assert (health["drift"]["leaks"], health["drift"]["plan_id"]) == (2, refused["plan_id"])
    assert "relay reconcile" in health["checks"]["supabase"]["reason"]
    assert health["status"] == "degraded"

    other = await watch(storied, {"repair": True, "plan_id": "0" * 12})
    assert (other["repair"], other["repaired"]) == ("refused", 0)
    assert "out of date" in other["refusal"]

    approved = await watch(storied, {"repair": True, "plan_id": refused["plan_id"]})
    assert (approved["repair"], approved["repaired"]) == ("requested", 2)
    await storied.watch_health(lambda health: health["backlog"]["pending"] == 0)
    assert (await watch(storied))["differences"] == 0
    assert len(storied.postgrest.rows("trip_memberships")) == 1
    assert (await storied.http.get("/health")).json()["status"] == "ok"


async def test_repair_needs_the_scope_of_a_replay(relay: RunningRelay) -> None:
    headers = relay.bear("events:read")
    response = await relay.http.post("/reconcile", json={"repair": True}, headers=headers)
    assert_problem(response, 403, "scope-missing")
    assert (await relay.http.post("/reconcile", json={}, headers=headers)).status_code == 202
    response = await relay.http.post("/reconcile", json={}, headers=relay.bear("replay:write"))
    assert_problem(response, 403, "scope-missing")
    assert_problem(await relay.http.get("/reconcile"), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"max_removals": "many"}, "/max_removals"),
        ({"max_removals": "101%"}, "/max_removals"),
        ({"max_removals": 5}, "/max_removals"),
        ({"plan_id": "\0"}, "/plan_id"),
        ({"plan_id": ""}, "/plan_id"),
        ({"repair": "yes"}, "/repair"),
        ({"fix": True}, "/fix"),
    ],
)
async def test_invalid_request_names_its_field(
    relay: RunningRelay, body: Body, pointer: str
) -> None:
    response = await relay.http.post("/reconcile", json=body, headers=relay.bear("events:read"))
    problem = assert_problem(response, 422, "input-invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_unknown_check_is_not_found(relay: RunningRelay) -> None:
    for name in (STRANGER, "nonsense", "%00"):
        for path in (f"/reconcile/{name}", f"/reconcile/{name}/differences"):
            assert_problem(await get(relay, path), 404, "reconciliation-not-found")


async def test_checks_are_listed_newest_first(storied: RunningRelay) -> None:
    first, second = await watch(storied), await watch(storied)
    page = (await get(storied, "/reconcile?limit=1")).json()
    assert page["reconciliations"] == [second]
    page = (await get(storied, f"/reconcile?limit=1&cursor={page['next_cursor']}")).json()
    assert (page["reconciliations"], page["next_cursor"]) == ([first], None)


async def test_check_while_the_functions_are_missing_says_what_to_do(
    storied: RunningRelay,
) -> None:
    storied.postgrest.drop_functions()
    report = await watch(storied)
    assert report["status"] == "failed"
    assert "relay sql" in report["failure"]
    health = (await storied.http.get("/health")).json()["drift"]
    assert (health["status"], health["failure"]) == ("failed", report["failure"])
    storied.postgrest.install_functions()
    assert (await watch(storied))["status"] == "completed"


async def test_scheduled_check_repairs_access_that_a_revocation_has_taken_away(
    starter: RelayStarter,
) -> None:
    async with starter.start(drift_check_seconds=600) as relay:
        await settle(relay)
        member = dict(relay.postgrest.tables["trip_memberships"][TRIP, USER])
        removal = {
            "type": "membership.deleted",
            "timestamp": "2026-01-02T03:00:01Z",
            "data": {"trip_id": TRIP, "user_id": USER},
        }
        await relay.send_and_wait(removal, "evt_removed")
        relay.postgrest.tables["trip_memberships"][TRIP, USER] = member
        relay.clock.advance(601)
        health = await relay.watch_health(lambda health: health["drift"]["status"] == "differs")
        assert health["drift"]["leaks"] == 1
        await relay.watch_health(lambda health: health["backlog"]["pending"] == 0)
        assert relay.postgrest.rows("trip_memberships") == []
        (report,) = (await get(relay, "/reconcile")).json()["reconciliations"]
        assert (report["repair"], report["repaired"]) == ("automatic", 1)
        assert report["requested_by"] is None
        samples = await read_samples(relay)
        assert samples["relay_drift_rows,kind=leaks,table=public.trip_memberships"] == 1
        assert samples["relay_drift_checked_timestamp_seconds"] == relay.clock()
        relay.clock.advance(599)
        assert len((await get(relay, "/reconcile")).json()["reconciliations"]) == 1
        relay.clock.advance(2)
        await relay.watch_health(lambda health: health["drift"]["status"] == "equal")
