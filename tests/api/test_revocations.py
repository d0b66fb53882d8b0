"""`GET /revocations`: the exposure of revocations."""

import uuid
from typing import Any

import httpx
import pytest

from tests.api.relay_harness import (
    HISTORY,
    TRIP,
    USER,
    Body,
    RunningRelay,
    assert_problem,
    make_body,
    pointers,
)
from tests.fake_postgrest import is_write

REMOVED = make_body("membership.deleted", at="2026-01-02T03:04:00Z")
LONG_AGO = {"since": "2026-01-01T00:00:00Z"}


async def ask(relay: RunningRelay, query: str | dict[str, Any] = "") -> httpx.Response:
    path = f"/revocations?{query}" if isinstance(query, str) else "/revocations"
    params = None if isinstance(query, str) else query
    return await relay.http.get(path, params=params, headers=relay.bear("events:read"))


async def measure(relay: RunningRelay, **query: Any) -> Body:
    response = await ask(relay, LONG_AGO | query)
    assert response.status_code == 200, response.text
    body: Body = response.json()
    return body


@pytest.fixture
async def member(relay: RunningRelay) -> RunningRelay:
    """A relay with a member, at 03:04:05."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    return relay


async def test_exposure_of_an_applied_revocation_lasts_until_then(member: RunningRelay) -> None:
    await member.send_and_wait(REMOVED, "evt_removed")
    member.clock.advance(60)
    assert await measure(member) == {
        "summary": {
            "revocations": 1,
            "unapplied": 0,
            "p50_seconds": 5,
            "p95_seconds": 5,
            "p99_seconds": 5,
            "maximum_seconds": 5,
        },
        "revocations": [
            {
                "trip_id": TRIP,
                "user_id": USER,
                "occurred_at": "2026-01-02T03:04:00Z",
                "received_at": "2026-01-02T03:04:05Z",
                "applied_at": "2026-01-02T03:04:05Z",
                "exposed_seconds": 5,
                "relay_seconds": 0,
            }
        ],
    }


async def test_exposure_of_a_pending_revocation_lasts_until_now(member: RunningRelay) -> None:
    member.postgrest.hang(of=is_write)
    await member.send(REMOVED, "evt_removed")
    member.clock.advance(60)
    body = await measure(member)
    assert (body["summary"]["revocations"], body["summary"]["unapplied"]) == (1, 1)
    (revocation,) = body["revocations"]
    assert revocation["applied_at"] is None
    assert (revocation["exposed_seconds"], revocation["relay_seconds"]) == (65, 60)


async def test_exposure_without_revocations_is_empty(member: RunningRelay) -> None:
    names = ("p50_seconds", "p95_seconds", "p99_seconds", "maximum_seconds")
    summary = {"revocations": 0, "unapplied": 0} | dict.fromkeys(names)
    assert await measure(member) == {"summary": summary, "revocations": []}


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ({"since": "2026-01-02T03:04:05Z"}, True),
        ({"since": "2026-01-02T03:04:05.000001Z"}, False),
        ({"until": "2026-01-02T03:04:00Z"}, False),
        ({"until": "2026-01-02T04:04:00.000001+01:00"}, True),
        ({"trip_id": TRIP}, True),
        ({"trip_id": TRIP.upper()}, True),
        ({"trip_id": USER}, False),
    ],
)
async def test_exposure_is_filtered(
    member: RunningRelay, query: dict[str, str], *, is_found: bool
) -> None:
    await member.send_and_wait(REMOVED, "evt_removed")
    body = await measure(member, **query)
    assert body["summary"]["revocations"] == len(body["revocations"]) == int(is_found)


async def test_exposure_lists_the_longest_up_to_the_limit(relay: RunningRelay) -> None:
    users = [str(uuid.UUID(int=number)) for number in range(60)]
    await relay.send_batch(
        *(
            {"id": user, **make_body("membership.deleted", user_id=user)}
            | {"timestamp": f"2026-01-02T03:04:{number // 20:02}.{number:06}Z"}
            for number, user in enumerate(users)
        )
    )
    await relay.watch_health(lambda health: health["backlog"]["pending"] == 0)
    body = await measure(relay)
    assert [each["user_id"] for each in body["revocations"]] == users[:50]
    assert body["summary"]["revocations"] == 60
    listed = (await measure(relay, limit=200))["revocations"]
    assert [each["user_id"] for each in listed] == users


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("", "/query/since"),
        ("since=yesterday", "/query/since"),
        ("since=2026-01-02T03:00:00", "/query/since"),
        ("since=2026-01-02T03:00:00Z&until=x", "/query/until"),
        ("since=2026-01-02T03:00:00Z&trip_id=x", "/query/trip_id"),
        (f"since=2026-01-02T03:00:00Z&trip_id={TRIP}%00", "/query/trip_id"),
        ("since=2026-01-02T03:00:00Z&limit=0", "/query/limit"),
        ("since=2026-01-02T03:00:00Z&limit=201", "/query/limit"),
        ("since=2026-01-02T03:00:00Z&user_id=x", "/query/user_id"),
        ("since=2026-01-02T03:00:00Z&since=2026-01-02T03:00:00Z", "/query/since"),
        ("since=2026-01-02T03:00:00Z&until=2026-01-02T03:00:00Z", "/query"),
    ],
)
async def test_exposure_with_an_invalid_query_is_rejected(
    relay: RunningRelay, query: str, pointer: str
) -> None:
    body = assert_problem(await ask(relay, query), 422, "input-invalid")
    assert pointers(body) == [pointer]


async def test_exposure_needs_a_token_with_the_scope(relay: RunningRelay) -> None:
    assert_problem(await relay.http.get("/revocations"), 401, "unauthenticated")
    response = await relay.http.get("/revocations", headers=relay.bear("replay:write"))
    assert_problem(response, 403, "scope-missing")
