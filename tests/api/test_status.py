"""`GET /status`: what an operator wants to see first."""

import os
import socket
from importlib.metadata import version

from tests.api.relay_harness import (
    HISTORY,
    Body,
    RunningRelay,
    assert_problem,
    make_body,
    refuse_rows,
)

REMOVED = make_body("membership.deleted", at="2026-01-02T03:04:00Z")


async def read_status(relay: RunningRelay) -> Body:
    response = await relay.http.get("/status", headers=relay.bear("events:read"))
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    body: Body = response.json()
    return body


async def test_status_of_a_new_relay_is_empty(relay: RunningRelay) -> None:
    await relay.watch_health(lambda health: bool(health["status"] == "ok"))
    replica = f"{socket.gethostname()}/{os.getpid()}"
    seconds = ("p50_seconds", "p95_seconds", "p99_seconds", "maximum_seconds")
    assert await read_status(relay) == {
        "version": version("supabase-sync-relay"),
        "at": "2026-01-02T03:04:05Z",
        "replica": replica,
        "leader": replica,
        "circuit_breaker": {
            "is_open": False,
            "opened_at": None,
            "next_probe_at": None,
            "code": None,
            "message": None,
        },
        "held_rows": [],
        "dead": [],
        "revocations": {"revocations": 0, "unapplied": 0} | dict.fromkeys(seconds),
        "events": [],
    }


async def test_status_shows_the_latest_events_as_a_lookup_does(relay: RunningRelay) -> None:
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    await relay.send_and_wait(make_body("user.updated", at="2026-01-02T03:02:00Z"), "evt_5")
    await relay.send_and_wait(make_body("user.updated", at="2026-01-02T03:03:00Z"), "evt_6")
    events = (await read_status(relay))["events"]
    newest_first = ["evt_6", "evt_5", *reversed([*HISTORY][1:])]
    assert [event["event_id"] for event in events] == newest_first
    assert events[0] == (await relay.look_up("evt_6")).json()


async def test_status_measures_revocations_of_the_last_hour(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("membership.created"), "evt_1")
    await relay.send_and_wait(REMOVED, "evt_2")
    exposure = (await read_status(relay))["revocations"]
    assert (exposure["revocations"], exposure["p50_seconds"]) == (1, 5)
    relay.clock.advance(3601)
    assert (await read_status(relay))["revocations"]["revocations"] == 0


async def test_status_during_an_outage_shows_the_next_probe(relay: RunningRelay) -> None:
    relay.postgrest.respond_with(503, headers={"retry-after": "60"})
    await relay.send(HISTORY["evt_user"])
    await relay.watch_health(
        lambda health: "HTTP 503" in (health["checks"]["supabase"]["reason"] or "")
    )
    status = await read_status(relay)
    breaker = status["circuit_breaker"]
    assert (breaker["is_open"], breaker["code"]) == (True, "HTTP 503")
    assert breaker["opened_at"] == "2026-01-02T03:04:05Z"
    # Never earlier than Supabase asked for; up to a tenth later.
    assert "2026-01-02T03:05:05" <= breaker["next_probe_at"] < "2026-01-02T03:05:11"
    assert status["events"][0]["entity"]["next_attempt_at"] == breaker["next_probe_at"]


async def test_status_counts_dead_entities_by_cause(relay: RunningRelay) -> None:
    refuse_rows(relay.postgrest)
    assert await relay.send_and_wait(HISTORY["evt_user"], "evt_1") == "dead"
    assert await relay.send_and_wait(HISTORY["evt_trip"], "evt_2") == "dead"
    sentence = 'new row violates check constraint "c"'
    assert (await read_status(relay))["dead"] == [
        {"kind": "trip", "code": "23514", "message": sentence, "entities": 1},
        {"kind": "user", "code": "23514", "message": sentence, "entities": 1},
    ]


async def test_status_of_a_misconfigured_table_shows_the_next_trial(relay: RunningRelay) -> None:
    relay.postgrest.fail_row(lambda *_: True, "42P01", "relation does not exist")
    await relay.send_batch(
        {"id": "evt_1", **make_body("user.created")},
        {"id": "evt_2", **make_body("user.created", id="00000000-0000-0000-0000-000000000001")},
    )
    await relay.watch_health(
        lambda health: "wait until the table" in (health["checks"]["supabase"]["reason"] or "")
    )
    (held,) = (await read_status(relay))["held_rows"]
    assert (held["kind"], held["is_delete"]) == ("user", False)
    assert held["next_trial_at"] >= "2026-01-02T03:04:05"


async def test_status_shows_no_personal_data(relay: RunningRelay) -> None:
    await relay.send_and_wait(HISTORY["evt_user"])
    response = await relay.http.get("/status", headers=relay.bear("events:read"))
    assert "ada" not in response.text


async def test_status_needs_a_token_with_the_scope(relay: RunningRelay) -> None:
    assert_problem(await relay.http.get("/status"), 401, "unauthenticated")
    response = await relay.http.get("/status", headers=relay.bear("replay:write"))
    assert_problem(response, 403, "scope-missing")


async def test_status_of_a_store_that_cannot_be_read_is_unavailable(relay: RunningRelay) -> None:
    relay.query("ALTER TABLE entities RENAME TO hidden")
    response = await relay.http.get("/status", headers=relay.bear("events:read"))
    assert_problem(response, 503, "store-unavailable")
