"""Supabase unreachable, overloaded or misconfigured: no attempts are counted, and all heals."""

import httpx
import pytest

from app.domain.entities import EntityState, EventStatus
from app.domain.failures import RequestFailureKind
from app.relay.health import HealthStatus
from tests.fake_postgrest import is_write
from tests.histories import World
from tests.relay.harness import Harness, holds
from tests.relay.ways_to_fail import WAYS_TO_FAIL


@pytest.mark.parametrize("way", [way for way in WAYS_TO_FAIL if way != "JSON 403"])
async def test_outage_counts_no_attempts_and_heals(harness: Harness, way: str) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await harness.receive(*trips)
    WAYS_TO_FAIL[way](harness.postgrest, lambda _: True)
    for _ in range(50):
        await harness.drain()
        harness.advance(61)
    status = harness.dispatcher.status
    assert status.failure is not None
    assert status.failure.kind is RequestFailureKind.UNAVAILABLE
    assert len(harness.postgrest.requests) <= 60, "one probe for each backoff"
    view = await harness.view(trips[0])
    assert (view.state, view.attempts, view.last_error_code) == (EntityState.PENDING, 0, None)
    health = await harness.report_health()
    assert health.supabase.status is HealthStatus.DEGRADED
    harness.postgrest.heal()
    before = len(harness.postgrest.writes)
    await harness.drain()
    assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert len(harness.postgrest.writes) == before + 1, "in one request: none was blamed"
    assert harness.dispatcher.status.failure is None
    assert (await harness.report_health()).status is HealthStatus.OK


async def test_outage_during_dispatch_counts_no_attempts(harness: Harness) -> None:
    await harness.receive(World().trip("created"))
    await harness.drain()
    trip = World().trip("created")
    await harness.receive(trip)
    harness.postgrest.break_connection()
    await harness.drain()
    assert (await harness.view(trip)).attempts == 0
    # The request and one probe; then the dispatcher waits.
    assert len(harness.postgrest.requests) == 4
    assert not await harness.dispatcher.dispatch_due()
    assert len(harness.postgrest.requests) == 4


async def test_outage_logs_begin_and_end_once_and_a_reminder_every_five_minutes(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="app.relay.circuit_breaker")
    await harness.receive(World().trip("created"))
    harness.postgrest.respond_with(503)
    for _ in range(10):
        await harness.drain()
        harness.advance(61)
    harness.postgrest.heal()
    await harness.drain()
    assert [record.getMessage() for record in caplog.records] == [
        "Supabase cannot be written to; circuit breaker open: HTTP 503 Supabase responded 503",
        "Supabase cannot be written to; circuit breaker open: HTTP 503 Supabase responded 503"
        " (for 5 minutes)",
        "Supabase is reachable again; circuit breaker closed",
    ]


# --- Retry-After -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_by_the_probe_too(harness: Harness, status: int) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await harness.receive(*trips)
    harness.postgrest.respond_with(status, headers={"Retry-After": "30"})
    await harness.drain()
    asked = len(harness.postgrest.requests)
    for _ in range(29):
        harness.advance(1)
        await harness.drain()
    assert len(harness.postgrest.requests) == asked
    harness.postgrest.heal()
    harness.advance(5)
    await harness.drain()
    assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert (await harness.view(trips[0])).attempts == 0


async def test_retry_after_of_a_write_whose_probe_is_answered_afterwards_splits_it(
    harness: Harness,
) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await harness.receive(*trips)
    harness.postgrest.respond_with(429, headers={"Retry-After": "10"}, of=holds(trips[3]))
    for _ in range(3):  # of 50 entities, of 2, and of the one
        await harness.drain()
        asked = len(harness.postgrest.requests)
        harness.advance(9)
        await harness.drain()
        assert len(harness.postgrest.requests) == asked
        harness.advance(3)
    statuses = await harness.statuses_of(*trips)
    assert statuses.count(EventStatus.APPLIED) == 49


async def test_retry_after_of_the_probe_is_obeyed(harness: Harness) -> None:
    trip = World().trip("created")
    await harness.receive(trip)
    await harness.drain()
    newer = World().trip("created")
    await harness.receive(newer)

    def fail(request: httpx.Request) -> httpx.Response:
        headers = {} if is_write(request) else {"Retry-After": "100"}
        return httpx.Response(503, headers=headers)

    harness.postgrest.add_trouble(fail)
    await harness.drain()
    asked = len(harness.postgrest.requests)
    harness.postgrest.heal()
    harness.advance(99)
    await harness.drain()
    assert len(harness.postgrest.requests) == asked
    harness.advance(12)
    await harness.drain()
    assert await harness.status_of(newer) is EventStatus.APPLIED


# --- misconfigured ---------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [True, False])
async def test_missing_functions_are_reported_with_the_fix_and_heal_without_a_restart(
    harness: Harness, *, has_begun: bool
) -> None:
    if has_begun:
        await harness.receive(World().trip("created"))
        await harness.drain()
    harness.postgrest.drop_functions()
    trip = World().trip("created")
    await harness.receive(trip)
    for _ in range(20):
        await harness.drain()
        harness.advance(61)
    view = await harness.view(trip)
    assert (view.state, view.attempts) == (EntityState.PENDING, 0)
    health = await harness.report_health()
    assert health.supabase.status is HealthStatus.DEGRADED
    assert "relay sql" in (health.supabase.reason or "")
    harness.postgrest.install_functions()
    await harness.drain()
    assert await harness.status_of(trip) is EventStatus.APPLIED
    assert (await harness.report_health()).status is HealthStatus.OK


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"message": "Invalid API key"}),
        (402, {"message": "exceeded the plan"}),
        (403, {"code": "42501", "message": "permission denied for table fence"}),
        (400, {"code": "0A000", "message": "unsupported protocol"}),
        (404, {"code": "PGRST202", "message": "x"}),
        (401, {"code": "PGRST301", "message": "JWSError x"}),
        (301, None),
    ],
)
async def test_misconfiguration_holds_everything_is_reported_and_heals(
    harness: Harness, status: int, body: object
) -> None:
    trip = World().trip("created")
    await harness.receive(trip)
    harness.postgrest.respond_with(status, body)
    for _ in range(20):
        await harness.drain()
        harness.advance(61)
    failure = harness.dispatcher.status.failure
    assert failure is not None
    assert failure.kind is RequestFailureKind.MISCONFIGURED
    assert await harness.status_of(trip) is EventStatus.PENDING
    harness.postgrest.heal()
    await harness.drain()
    assert await harness.status_of(trip) is EventStatus.APPLIED
    assert harness.dispatcher.status.failure is None
