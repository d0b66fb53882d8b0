"""Every failure of Supabase: no event is lost or dead, and no attempt is counted."""

import json
from dataclasses import dataclass

import httpx
import pytest

from app.domain.entities import EventStatus
from app.domain.events import Event
from app.domain.failures import RequestFailureKind
from tests.faults.harness import Harness
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Hang, HoldBack, Reset, Twice
from tests.faults.supabase import LOST_CONNECTION, read_rows
from tests.histories import World, find_desired_rows

HTML = "<html><head><title>Bad gateway</title></head><body>cloudflare</body></html>"


def postgrest_error(code: str, message: str) -> dict[str, str | None]:
    return {"code": code, "message": message, "details": None, "hint": None}


@dataclass(frozen=True)
class Case:
    """A fault, how the relay must classify it, and the code that operators see."""

    name: str
    fault: Fault
    kind: RequestFailureKind
    code: str


OUTAGE, MISCONFIGURED = RequestFailureKind.UNAVAILABLE, RequestFailureKind.MISCONFIGURED
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
        Answer(403, postgrest_error("42501", "permission denied for table fence")),
        MISCONFIGURED,
        "42501",
    ),
    Case(
        "404 PGRST202",
        Answer(
            404,
            postgrest_error(
                "PGRST202",
                "Could not find the function public.relay_apply(request) in the schema cache",
            ),
        ),
        MISCONFIGURED,
        "PGRST202",
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
    Case("held back", HoldBack(), OUTAGE, "ReadError"),
    Case("reset after it landed", Reset(lands=True), OUTAGE, "ReadError"),
    Case("half of an error", Cut(500), OUTAGE, "RemoteProtocolError"),
    Case("half of a success that landed", Cut(201, lands=True), OUTAGE, "RemoteProtocolError"),
    Case("hang", Hang(), OUTAGE, "ReadTimeout"),
    Case("hang after it landed", Hang(lands=True), OUTAGE, "ReadTimeout"),
)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
KINDS_OF_FAULT = [case for case in CASES if case.name in ("503 PGRST000", "reset", "hang", "429")]
"""One that each way of failing stands for, where all cases would show nothing more."""


def make_trip(world: World) -> list[Event]:
    """Make a trip with one member, whose role changes."""
    return [
        world.user("created"),
        world.trip("created"),
        world.membership("created"),
        world.membership("updated", at=1, role="ADMIN"),
    ]


def assert_supabase_holds_desired_rows(
    service_role: httpx.Client, events: list[Event], *worlds: World
) -> None:
    desired = {
        ref: json.loads(row) for ref, row in find_desired_rows(events).items() if row is not None
    }
    assert read_rows(service_role, *worlds) == desired


async def assert_no_attempt_is_counted(harness: Harness, events: list[Event]) -> None:
    for stored in await harness.find(events):
        assert stored.status in (EventStatus.PENDING, EventStatus.SUPERSEDED)
        assert stored.entity.attempts == 0
        assert stored.entity.last_error_code is None


@pytest.mark.parametrize(
    ("case", "has_begun"),
    [
        *(pytest.param(case, False, id=case.name) for case in CASES),
        *(pytest.param(case, True, id=f"{case.name}, later") for case in KINDS_OF_FAULT),
    ],
)
async def test_outage_loses_no_event_counts_no_attempt_and_heals(
    case: Case, harness: Harness, proxy: FaultProxy, service_role: httpx.Client, *, has_begun: bool
) -> None:
    if has_begun:
        await harness.receive(World().user("created"))
        await harness.drain()
    worlds = [World() for _ in range(3)]
    events = [event for world in worlds for event in make_trip(world)]
    await harness.receive(*events)
    proxy.inject(case.fault)
    arrived = proxy.arrived
    await harness.suffer(3)
    status = harness.dispatcher.status
    assert status.failure is not None
    assert status.failure is not None
    assert status.failure.kind is case.kind
    assert status.failure.code in (case.code, "TimeoutError" if case.code == "ReadTimeout" else "")
    # Three probes, or claims of the fence, and the request that was the first to fail.
    assert proxy.arrived - arrived <= 5
    await assert_no_attempt_is_counted(harness, events)

    proxy.heal()
    await harness.settle()
    assert harness.dispatcher.status.failure is None
    assert harness.dispatcher.status.failure is None
    assert {stored.status for stored in await harness.find(events)} <= {
        EventStatus.APPLIED,
        EventStatus.SUPERSEDED,
    }
    await proxy.deliver()
    assert_supabase_holds_desired_rows(service_role, events, *worlds)


@every_case
async def test_outage_during_which_access_is_granted_and_revoked_leaves_no_access(
    case: Case, harness: Harness, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    standing = [world.user("created"), world.trip("created")]
    await harness.receive(*standing)
    await harness.drain()
    granted, revoked = world.membership("created", at=1), world.membership("deleted", at=2)
    proxy.inject(case.fault)
    await harness.receive(granted)
    await harness.suffer(1)
    await harness.receive(revoked)
    await harness.suffer(1)
    proxy.heal()
    await harness.settle()
    await proxy.deliver()
    events = [*standing, granted, revoked]
    assert [stored.status for stored in await harness.find(events[2:])] == [
        EventStatus.SUPERSEDED,
        EventStatus.APPLIED,
    ]
    assert_supabase_holds_desired_rows(service_role, events, world)


@pytest.mark.parametrize(
    ("case", "passed"),
    [
        *(pytest.param(case, 1, id=f"request, {case.name}") for case in CASES),
        *(
            pytest.param(case, passed, id=f"{request}, {case.name}")
            for passed, request in ((0, "claim"), (2, "probe or next request"))
            for case in KINDS_OF_FAULT
        ),
    ],
)
async def test_single_request_that_fails_delays_its_rows_by_seconds(
    case: Case, passed: int, harness: Harness, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    events = [world.user("created"), world.trip("created"), world.membership("created")]
    await harness.receive(*events)
    proxy.inject(case.fault, after=passed, requests=1)
    await harness.drain()
    harness.clock.advance(10)
    await harness.settle()
    assert {stored.status for stored in await harness.find(events)} == {EventStatus.APPLIED}
    await proxy.deliver()
    assert_supabase_holds_desired_rows(service_role, events, world)


async def test_requests_delivered_minutes_late_change_nothing(
    harness: Harness, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    standing = [world.user("created"), world.trip("created"), world.membership("created")]
    await harness.receive(*standing)
    await harness.drain()
    proxy.inject(HoldBack())
    events = [*standing]
    for event in (
        world.membership("updated", at=1, role="ADMIN"),
        world.membership("deleted", at=2),
        world.trip("deleted", at=3),
    ):
        await harness.receive(event)
        events.append(event)
        await harness.suffer(2)
    proxy.heal()
    last = [world.trip("created", at=4), world.membership("created", at=5)]
    await harness.receive(*last)
    events += last
    await harness.settle()
    assert_supabase_holds_desired_rows(service_role, events, world)
    statuses = await proxy.deliver()
    assert len(statuses) >= 2
    assert set(statuses) == {409}
    assert_supabase_holds_desired_rows(service_role, events, world)


async def test_requests_delivered_twice_are_applied_once(
    harness: Harness, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    events = make_trip(world)
    await harness.receive(*events[:3])
    # The second claim counts too; the second response to the request is that it is stale.
    proxy.inject(Twice(), requests=2)
    await harness.drain()
    proxy.heal()
    await harness.receive(*events[3:])
    await harness.drain()
    assert_supabase_holds_desired_rows(service_role, events, world)
    assert not harness.dispatcher.status.has_rival


async def test_outage_of_a_week_leaves_no_event_dead(
    harness: Harness, proxy: FaultProxy, service_role: httpx.Client
) -> None:
    world = World()
    events = make_trip(world)
    await harness.receive(*events)
    proxy.inject(Answer(503, LOST_CONNECTION))
    for _ in range(7 * 24):
        await harness.dispatcher.dispatch_due()
        harness.clock.advance(3600)
    await assert_no_attempt_is_counted(harness, events)
    proxy.heal()
    await harness.settle()
    assert_supabase_holds_desired_rows(service_role, events, world)
