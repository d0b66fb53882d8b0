"""`GET /health` is correct, and shows no secret."""

from collections.abc import Callable
from importlib.metadata import version

import httpx
import pytest

from tests.api.relay_harness import (
    JWT_SECRET,
    SUPABASE_KEY,
    USER,
    WEBHOOK_SECRET,
    Body,
    RelayStarter,
    RunningRelay,
    assert_problem,
    full_disk,
    make_body,
    number_ids,
    refuse_rows,
)
from tests.fake_postgrest import FakePostgrest, is_write


def supabase_status(health: Body) -> str:
    return str(health["checks"]["supabase"]["status"])


def is_well(health: Body) -> bool:
    return bool(health["status"] == "ok")


def is_degraded(health: Body) -> bool:
    reason = health["checks"]["supabase"]["reason"]
    return supabase_status(health) == "degraded" and reason != "not reached yet"


async def test_health_of_a_relay_that_is_well_is_ok(relay: RunningRelay) -> None:
    health = await relay.watch_health(is_well)
    assert health == {
        "status": "ok",
        "version": version("supabase-sync-relay"),
        "checks": {
            "store": {"status": "ok", "reason": None},
            "dispatcher": {"status": "ok", "reason": None},
            "supabase": {"status": "ok", "reason": None},
        },
        "backlog": {
            "pending": 0,
            "oldest_pending_seconds": 0.0,
            "oldest_removal_seconds": 0.0,
            "dead": 0,
        },
        "drift": {
            "status": "unknown",
            "age_seconds": None,
            "leaks": None,
            "denies": None,
            "other": None,
            "plan_id": None,
            "failure": None,
        },
    }


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_needs_no_token_and_is_not_cached(relay: RunningRelay, path: str) -> None:
    response = await relay.http.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/health+json"
    assert response.headers["cache-control"] == "no-store"
    assert_problem(await relay.http.post(path), 405, "method-not-allowed")


async def test_health_before_supabase_was_reached_is_degraded(
    starter: RelayStarter, postgrest: FakePostgrest
) -> None:
    postgrest.hang()
    async with starter.start() as relay:
        response = await relay.http.get("/health")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        assert response.json()["checks"]["supabase"] == {
            "status": "degraded",
            "reason": "not reached yet",
        }
        postgrest.heal()
        await relay.watch_health(is_well)


def lose_connection(postgrest: FakePostgrest) -> None:
    postgrest.break_connection()


def time_out(postgrest: FakePostgrest) -> None:
    postgrest.break_connection(httpx.ReadTimeout)


def fail_with_a_page(postgrest: FakePostgrest) -> None:
    postgrest.respond_with(503, b"<html>upstream</html>")


def refuse_key(postgrest: FakePostgrest) -> None:
    postgrest.respond_with(401, {"message": f"Invalid API key {SUPABASE_KEY}"})


def answer_as_another_server(postgrest: FakePostgrest) -> None:
    postgrest.respond_with(404, b"<html>nothing here</html>")


def miss_functions(postgrest: FakePostgrest) -> None:
    postgrest.drop_functions()


def forbid_functions(postgrest: FakePostgrest) -> None:
    error = {"code": "42501", "message": "permission denied for function relay_apply"}
    postgrest.respond_with(403, error)


def forbid(postgrest: FakePostgrest) -> None:
    fail_trips(postgrest, "42501", "permission denied for table trips")


def miss_table(postgrest: FakePostgrest) -> None:
    fail_trips(postgrest, "42P01", 'relation "public.trips" does not exist')


def miss_column(postgrest: FakePostgrest) -> None:
    fail_trips(postgrest, "42703", 'column "created_by" of relation "trips" does not exist')


def fail_trips(postgrest: FakePostgrest, sqlstate: str, message: str) -> None:
    postgrest.fail_row(lambda _operation, table, _row: table == "trips", sqlstate, message)


TROUBLES = [
    (lose_connection, ["unreachable", "ConnectError"]),
    (time_out, ["unreachable", "ReadTimeout"]),
    (fail_with_a_page, ["failing", "HTTP 503"]),
    (refuse_key, ["rejects the relay's requests", "key", "HTTP 401", "Invalid API key"]),
    (answer_as_another_server, ["failing", "HTTP 404", "not Supabase's API"]),
    (miss_functions, ["functions of the relay are missing", "PGRST202", "relay sql"]),
    (forbid_functions, ["functions of the relay are missing", "42501", "permission denied"]),
]
"""Of all that the relay sends: a relay that has nothing to write meets them, too."""

TROUBLES_OF_TRIPS = [
    (forbid, "42501, permission denied for table trips"),
    (miss_table, '42P01, relation "public.trips" does not exist'),
    (miss_column, '42703, column "created_by" of relation "trips" does not exist'),
]
"""Of one table: they are met when its rows are written."""


def name_cause(value: object) -> str:
    return getattr(value, "__name__", "")


def cure(postgrest: FakePostgrest) -> None:
    postgrest.heal()
    postgrest.install_functions()


async def assert_events_are_taken(relay: RunningRelay, body: Body, event_id: str) -> None:
    assert (await relay.send(body, event_id)).status_code == 202
    assert (await relay.http.get("/health")).status_code == 200
    ready = await relay.http.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(("cause", "words"), TROUBLES, ids=name_cause)
async def test_health_with_failing_supabase_is_degraded_names_the_cause_and_recovers(
    starter: RelayStarter,
    postgrest: FakePostgrest,
    cause: Callable[[FakePostgrest], None],
    words: list[str],
) -> None:
    cause(postgrest)
    async with starter.start() as relay:
        health = await relay.watch_health(is_degraded)
        assert health["status"] == "degraded"
        assert health["checks"]["store"]["status"] == "ok"
        for word in words:
            assert word in health["checks"]["supabase"]["reason"]
        await assert_events_are_taken(relay, make_body("trip.created"), "evt_1")
        cure(postgrest)
        relay.clock.advance(120)
        assert await relay.send_and_wait(make_body("trip.created"), "evt_1") == "applied"
        assert is_well((await relay.http.get("/health")).json())


@pytest.mark.parametrize(("cause", "reason"), TROUBLES_OF_TRIPS, ids=name_cause)
async def test_health_with_a_failing_table_is_degraded_names_it_and_recovers(
    relay: RunningRelay, cause: Callable[[FakePostgrest], None], reason: str
) -> None:
    cause(relay.postgrest)
    bodies = [make_body("trip.created", id=id_) for id_ in number_ids(3)]
    for number in (0, 1):
        await relay.send(bodies[number], f"evt_{number}")
    health = await relay.watch_health(is_degraded)
    assert health["status"] == "degraded"
    assert health["checks"]["store"]["status"] == "ok"
    assert health["checks"]["supabase"]["reason"] == (
        f"writes of public.trips wait until the table is as configured: {reason}"
    )
    await assert_events_are_taken(relay, bodies[2], "evt_2")
    # The other tables are written to all the same.
    assert await relay.send_and_wait(make_body("user.created"), "evt_user") == "applied"
    backlog = (await relay.http.get("/health")).json()["backlog"]
    assert (backlog["pending"], backlog["dead"]) == (3, 0)
    cure(relay.postgrest)
    relay.clock.advance(120)
    for number, body in enumerate(bodies):
        assert await relay.send_and_wait(body, f"evt_{number}") == "applied"
    assert is_well((await relay.http.get("/health")).json())


async def test_health_with_a_missing_column_names_it(relay: RunningRelay) -> None:
    error = {
        "code": "PGRST204",
        "message": "Could not find the 'username' column of 'users' in the schema cache",
    }
    relay.postgrest.respond_with(400, error, of=is_write)
    await relay.send(make_body("user.created"))
    health = await relay.watch_health(is_degraded)
    reason = health["checks"]["supabase"]["reason"]
    assert "PGRST204" in reason
    assert "'username' column of 'users'" in reason
    assert health["backlog"] == {
        "pending": 1,
        "oldest_pending_seconds": 0.0,
        "oldest_removal_seconds": 0.0,
        "dead": 0,
    }


async def test_health_counts_pending_entities_and_their_age(relay: RunningRelay) -> None:
    await relay.watch_health(is_well)
    relay.postgrest.break_connection()
    await relay.send(make_body("user.created"), "evt_1")
    relay.clock.advance(40)
    await relay.send(make_body("trip.created"), "evt_2")
    await relay.send(make_body("trip.updated", at="2026-01-02T03:00:01Z"), "evt_3")
    relay.clock.advance(2.5)
    health = await relay.watch_health(is_degraded)
    assert health["backlog"] == {
        "pending": 2,
        "oldest_pending_seconds": 42.5,
        "oldest_removal_seconds": 0.0,
        "dead": 0,
    }


async def test_health_shows_the_age_of_revocations(relay: RunningRelay) -> None:
    relay.postgrest.break_connection()
    await relay.send(make_body("trip.created"), "evt_grant")
    relay.clock.advance(5)
    await relay.send(make_body("membership.deleted"), "evt_removal")
    relay.clock.advance(2)
    backlog = (await relay.http.get("/health")).json()["backlog"]
    assert (backlog["oldest_pending_seconds"], backlog["oldest_removal_seconds"]) == (7.0, 2.0)


async def test_health_counts_the_dead(relay: RunningRelay) -> None:
    refuse_rows(relay.postgrest)
    await relay.send_and_wait(make_body("user.created"), "evt_1")
    await relay.send_and_wait(make_body("trip.created"), "evt_2")
    health = (await relay.http.get("/health")).json()
    assert health["backlog"] == {
        "pending": 0,
        "oldest_pending_seconds": 0.0,
        "oldest_removal_seconds": 0.0,
        "dead": 2,
    }


async def test_health_with_a_full_disk_is_down_and_recovers(relay: RunningRelay) -> None:
    await relay.watch_health(is_well)
    with full_disk():
        await relay.send(make_body("trip.created"))
        health = await relay.http.get("/health")
        ready = await relay.http.get("/health/ready")
        live = await relay.http.get("/health/live")
    assert health.status_code == 503
    assert health.headers["content-type"] == "application/health+json"
    assert health.json()["status"] == "down"
    assert health.json()["checks"]["store"]["status"] == "down"
    assert health.json()["checks"]["store"]["reason"]
    assert (ready.status_code, ready.json()) == (503, {"status": "down"})
    # Restarting the process would not give it a disk.
    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert await relay.send_and_wait(make_body("trip.created")) == "applied"
    assert is_well((await relay.http.get("/health")).json())


async def test_health_with_a_full_disk_is_down_before_any_event_fails(
    relay: RunningRelay,
) -> None:
    await relay.watch_health(is_well)
    relay.clock.advance(60)
    with full_disk():
        response = await relay.http.get("/health")
    assert (response.status_code, response.json()["status"]) == (503, "down")


async def test_health_once_the_disk_has_room_again_recovers_without_an_event(
    relay: RunningRelay,
) -> None:
    # Who sends nothing to a relay that is not ready would wait for ever otherwise.
    await relay.watch_health(is_well)
    with full_disk():
        await relay.send(make_body("trip.created"))
    relay.clock.advance(60)
    assert (await relay.http.get("/health/ready")).status_code == 200


async def test_health_of_a_store_that_cannot_be_read_is_down_without_numbers(
    relay: RunningRelay,
) -> None:
    relay.query("ALTER TABLE entities RENAME TO hidden")
    response = await relay.http.get("/health")
    assert response.status_code == 503
    assert response.json()["checks"]["store"]["status"] == "down"
    assert response.json()["backlog"]["pending"] is None
    assert response.json()["backlog"]["dead"] is None
    ready = await relay.http.get("/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "down"})


@pytest.mark.parametrize("cause", [cause for cause, _ in (*TROUBLES, *TROUBLES_OF_TRIPS)])
async def test_health_shows_no_secret_and_no_person(
    relay: RunningRelay, cause: Callable[[FakePostgrest], None]
) -> None:
    cause(relay.postgrest)
    await relay.send(make_body("user.created"))
    await relay.send(make_body("trip.created"), "evt_2")
    await relay.send(make_body("trip.created", id=USER), "evt_3")
    await relay.watch_health(is_degraded)
    with full_disk():
        await relay.send(make_body("user.created"), "evt_4")
        text = (await relay.http.get("/health")).text
    for hidden in (SUPABASE_KEY, WEBHOOK_SECRET, JWT_SECRET, "ada", "Lisbon", str(relay.folder)):
        assert hidden not in text
