"""Supabase unreachable, overloaded or misconfigured: no attempts are counted, and all heals."""

import httpx
import pytest

from app.domain.entities import EntityState, EventStatus
from app.domain.failures import RequestFailureKind
from app.relay.health import HealthStatus
from tests.fake_postgrest import is_write
from tests.histories import World
from tests.relay.harness import Bench, holds
from tests.relay.ways_to_fail import WAYS_TO_FAIL


@pytest.mark.parametrize("way", [way for way in WAYS_TO_FAIL if way != "JSON 403"])
async def test_outage_counts_no_attempts_and_heals(bench: Bench, way: str) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await bench.receive(*trips)
    WAYS_TO_FAIL[way](bench.postgrest, lambda _: True)
    for _ in range(50):
        await bench.drain()
        bench.advance(61)
    status = bench.dispatcher.status
    assert status.failure is not None
    assert status.failure.kind is RequestFailureKind.UNAVAILABLE
    assert len(bench.postgrest.requests) <= 60, "one probe for each backoff"
    view = await bench.view(trips[0])
    assert (view.state, view.attempts, view.last_error_code) == (EntityState.PENDING, 0, None)
    health = await bench.report_health()
    assert health.supabase.status is HealthStatus.DEGRADED
    bench.postgrest.heal()
    before = len(bench.postgrest.writes)
    await bench.drain()
    assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert len(bench.postgrest.writes) == before + 1, "in one request: none was blamed"
    assert bench.dispatcher.status.failure is None
    assert (await bench.report_health()).status is HealthStatus.OK


async def test_outage_during_dispatch_counts_no_attempts(bench: Bench) -> None:
    await bench.receive(World().trip("created"))
    await bench.drain()
    trip = World().trip("created")
    await bench.receive(trip)
    bench.postgrest.break_connection()
    await bench.drain()
    assert (await bench.view(trip)).attempts == 0
    # The request and one probe; then the dispatcher waits.
    assert len(bench.postgrest.requests) == 4
    assert not await bench.dispatcher.dispatch_due()
    assert len(bench.postgrest.requests) == 4


async def test_outage_logs_begin_and_end_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="app.relay.circuit_breaker")
    await bench.receive(World().trip("created"))
    bench.postgrest.answer_with(503)
    for _ in range(10):
        await bench.drain()
        bench.advance(61)
    bench.postgrest.heal()
    await bench.drain()
    assert [record.getMessage() for record in caplog.records] == [
        "Supabase cannot be written to; circuit breaker open: HTTP 503 Supabase responded 503",
        "Supabase is reachable again; circuit breaker closed",
    ]


# --- Retry-After -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_obeyed_by_the_probe_too(bench: Bench, status: int) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await bench.receive(*trips)
    bench.postgrest.answer_with(status, headers={"Retry-After": "30"})
    await bench.drain()
    asked = len(bench.postgrest.requests)
    for _ in range(29):
        bench.advance(1)
        await bench.drain()
    assert len(bench.postgrest.requests) == asked
    bench.postgrest.heal()
    bench.advance(5)
    await bench.drain()
    assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert (await bench.view(trips[0])).attempts == 0


async def test_retry_after_of_a_write_whose_probe_is_answered_afterwards_splits_it(
    bench: Bench,
) -> None:
    trips = [World().trip("created") for _ in range(50)]
    await bench.receive(*trips)
    bench.postgrest.answer_with(429, headers={"Retry-After": "10"}, of=holds(trips[3]))
    for _ in range(3):  # of 50 entities, of 2, and of the one
        await bench.drain()
        asked = len(bench.postgrest.requests)
        bench.advance(9)
        await bench.drain()
        assert len(bench.postgrest.requests) == asked
        bench.advance(3)
    statuses = await bench.statuses_of(*trips)
    assert statuses.count(EventStatus.APPLIED) == 49


async def test_retry_after_of_the_probe_is_obeyed(bench: Bench) -> None:
    trip = World().trip("created")
    await bench.receive(trip)
    await bench.drain()
    newer = World().trip("created")
    await bench.receive(newer)

    def fail(request: httpx.Request) -> httpx.Response:
        headers = {} if is_write(request) else {"Retry-After": "100"}
        return httpx.Response(503, headers=headers)

    bench.postgrest.meet(fail)
    await bench.drain()
    asked = len(bench.postgrest.requests)
    bench.postgrest.heal()
    bench.advance(99)
    await bench.drain()
    assert len(bench.postgrest.requests) == asked
    bench.advance(12)
    await bench.drain()
    assert await bench.status_of(newer) is EventStatus.APPLIED


# --- misconfigured ---------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [True, False])
async def test_missing_functions_are_reported_with_the_fix_and_heal_without_a_restart(
    bench: Bench, *, has_begun: bool
) -> None:
    if has_begun:
        await bench.receive(World().trip("created"))
        await bench.drain()
    bench.postgrest.drop_functions()
    trip = World().trip("created")
    await bench.receive(trip)
    for _ in range(20):
        await bench.drain()
        bench.advance(61)
    view = await bench.view(trip)
    assert (view.state, view.attempts) == (EntityState.PENDING, 0)
    health = await bench.report_health()
    assert health.supabase.status is HealthStatus.DEGRADED
    assert "relay sql" in (health.supabase.reason or "")
    bench.postgrest.install_functions()
    await bench.drain()
    assert await bench.status_of(trip) is EventStatus.APPLIED
    assert (await bench.report_health()).status is HealthStatus.OK


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
    bench: Bench, status: int, body: object
) -> None:
    trip = World().trip("created")
    await bench.receive(trip)
    bench.postgrest.answer_with(status, body)
    for _ in range(20):
        await bench.drain()
        bench.advance(61)
    failure = bench.dispatcher.status.failure
    assert failure is not None
    assert failure.kind is RequestFailureKind.MISCONFIGURED
    assert await bench.status_of(trip) is EventStatus.PENDING
    bench.postgrest.heal()
    await bench.drain()
    assert await bench.status_of(trip) is EventStatus.APPLIED
    assert bench.dispatcher.status.failure is None
