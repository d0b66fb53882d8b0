"""Every way in which Supabase can be away: nothing is lost, nothing dies, nothing is used up."""

import json
from dataclasses import dataclass

import httpx
import pytest

from app.domain.entities import EventStatus
from app.domain.events import Event
from app.domain.failures import FailureKind
from app.domain.retry import OPEN_AFTER_FAILURES, BreakerState
from tests.faults.bench import Bench
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Hang, Reset
from tests.faults.supabase import LOST_CONNECTION, read_rows
from tests.histories import World, find_desired_rows

HTML = "<html><head><title>Bad gateway</title></head><body>cloudflare</body></html>"


def postgrest_error(code: str, message: str) -> dict[str, str | None]:
    return {"code": code, "message": message, "details": None, "hint": None}


@dataclass(frozen=True)
class Case:
    """A fault, how it must be read, and the code that a person is shown."""

    name: str
    fault: Fault
    kind: FailureKind
    code: str


OUTAGE, MISCONFIGURED = FailureKind.OUTAGE, FailureKind.MISCONFIGURED
MISMATCH = FailureKind.SCHEMA_MISMATCH
CASES = (
    Case("503 PGRST000", Answer(503, LOST_CONNECTION), OUTAGE, "PGRST000"),
    Case(
        "503 PGRST002",
        Answer(
            503,
            postgrest_error(
                "PGRST002", "Could not query the database for the schema cache. Retrying."
            ),
        ),
        OUTAGE,
        "PGRST002",
    ),
    Case(
        "504 PGRST003",
        Answer(
            504,
            postgrest_error("PGRST003", "Timed out acquiring connection from connection pool."),
        ),
        OUTAGE,
        "PGRST003",
    ),
    *(
        Case(f"500 {code}", Answer(500, postgrest_error(code, message)), OUTAGE, code)
        for code, message in (
            ("40001", "could not serialize access due to concurrent update"),
            ("40P01", "deadlock detected"),
            ("57014", "canceling statement due to statement timeout"),
            ("53300", "sorry, too many clients already"),
            ("XX000", "cache lookup failed for relation 16384"),
        )
    ),
    Case(
        "405 25006",
        Answer(405, postgrest_error("25006", "cannot execute INSERT in a read-only transaction")),
        OUTAGE,
        "25006",
    ),
    Case(
        "429",
        Answer(429, {"message": "Too many requests"}, {"Retry-After": "7"}),
        OUTAGE,
        "HTTP 429",
    ),
    Case(
        "401 Invalid API key",
        Answer(401, {"message": "Invalid API key", "hint": "Double check your API key."}),
        MISCONFIGURED,
        "HTTP 401",
    ),
    Case(
        "401 PGRST301",
        Answer(401, postgrest_error("PGRST301", "No suitable key or wrong key type")),
        MISCONFIGURED,
        "PGRST301",
    ),
    Case(
        "403 42501",
        Answer(403, postgrest_error("42501", "permission denied for table users")),
        MISCONFIGURED,
        "42501",
    ),
    Case(
        "404 PGRST205",
        Answer(
            404,
            postgrest_error(
                "PGRST205", "Could not find the table 'public.users' in the schema cache"
            ),
        ),
        MISMATCH,
        "PGRST205",
    ),
    Case(
        "400 PGRST204",
        Answer(
            400,
            postgrest_error(
                "PGRST204", "Could not find the 'email' column of 'users' in the schema cache"
            ),
        ),
        MISMATCH,
        "PGRST204",
    ),
    *(
        Case(
            f"{status} HTML",
            Answer(status, HTML, {"Content-Type": "text/html"}),
            OUTAGE,
            f"HTTP {status}",
        )
        for status in (502, 504, 520, 522)
    ),
    Case("540 paused", Answer(540, HTML), OUTAGE, "HTTP 540"),
    Case("301", Answer(301, "", {"Location": "https://example.com/"}), MISCONFIGURED, "HTTP 301"),
    Case("reset", Reset(), OUTAGE, "ReadError"),
    Case("reset after it landed", Reset(lands=True), OUTAGE, "ReadError"),
    Case("half of an error", Cut(500), OUTAGE, "RemoteProtocolError"),
    Case("half of a success that landed", Cut(201, lands=True), OUTAGE, "RemoteProtocolError"),
    Case("hang", Hang(), OUTAGE, "ReadTimeout"),
    Case("hang after it landed", Hang(lands=True), OUTAGE, "ReadTimeout"),
)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def make_trip(world: World) -> list[Event]:
    """Make a trip with one member, who has joined and whose role has changed."""
    return [
        world.user("created"),
        world.trip("created"),
        world.membership("created"),
        world.membership("updated", at=1, role="ADMIN"),
    ]


def assert_holds_what_is_desired(
    service_role: httpx.Client, events: list[Event], *worlds: World
) -> None:
    desired = {
        ref: json.loads(row) for ref, row in find_desired_rows(events).items() if row is not None
    }
    assert read_rows(service_role, *worlds) == desired


async def assert_nothing_is_used_up(bench: Bench, events: list[Event]) -> None:
    for stored in await bench.find(events):
        assert stored.status in (EventStatus.PENDING, EventStatus.SUPERSEDED)
        assert stored.entity.attempts == 0
        assert stored.entity.last_error_code is None


@every_case
async def test_outage_keeps_everything_uses_up_nothing_and_heals(
    case: Case, bench: Bench, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    worlds = [World() for _ in range(3)]
    events = [event for world in worlds for event in make_trip(world)]
    await bench.receive(*events)
    proxy.inject(case.fault)
    await bench.suffer(OPEN_AFTER_FAILURES)
    view = bench.dispatcher.view
    assert view.breaker is BreakerState.OPEN
    assert view.failure is not None
    assert view.failure.kind is case.kind
    assert view.failure.code in (case.code, "TimeoutError" if case.code == "ReadTimeout" else "")
    assert proxy.arrived == OPEN_AFTER_FAILURES
    await assert_nothing_is_used_up(bench, events)

    proxy.heal()
    await bench.drain()
    assert bench.dispatcher.view.breaker is BreakerState.CLOSED
    assert bench.dispatcher.view.failure is None
    assert {stored.status for stored in await bench.find(events)} <= {
        EventStatus.APPLIED,
        EventStatus.SUPERSEDED,
    }
    assert_holds_what_is_desired(service_role, events, *worlds)


@every_case
async def test_outage_during_which_access_is_granted_and_taken_leaves_no_access(
    case: Case, bench: Bench, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    standing = [world.user("created"), world.trip("created")]
    await bench.receive(*standing)
    await bench.drain()
    granted, removed = world.membership("created", at=1), world.membership("deleted", at=2)
    proxy.inject(case.fault)
    await bench.receive(granted)
    await bench.suffer(1)
    await bench.receive(removed)
    await bench.suffer(1)
    proxy.heal()
    await bench.drain()
    events = [*standing, granted, removed]
    assert [stored.status for stored in await bench.find(events[2:])] == [
        EventStatus.SUPERSEDED,
        EventStatus.APPLIED,
    ]
    assert_holds_what_is_desired(service_role, events, world)


@every_case
async def test_outage_within_a_batch_records_what_landed_before_it(
    case: Case, bench: Bench, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    events = [world.user("created"), world.trip("created"), world.membership("created")]
    await bench.receive(*events)
    proxy.inject(case.fault, after=1, requests=1)
    await bench.dispatcher.dispatch_due()
    assert [stored.status for stored in await bench.find(events)] == [
        EventStatus.APPLIED,
        EventStatus.PENDING,
        EventStatus.PENDING,
    ]
    await assert_nothing_is_used_up(bench, events[1:])
    await bench.drain()
    assert_holds_what_is_desired(service_role, events, world)


async def test_outage_that_never_ends_kills_nothing_in_a_week(
    bench: Bench, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    events = make_trip(world)
    await bench.receive(*events)
    proxy.inject(Answer(503, LOST_CONNECTION))
    for _ in range(7 * 24):
        await bench.dispatcher.dispatch_due()
        bench.clock.advance(3600)
    await assert_nothing_is_used_up(bench, events)
    proxy.heal()
    await bench.drain()
    assert_holds_what_is_desired(service_role, events, world)
