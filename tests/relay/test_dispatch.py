"""The dispatcher on a real store of either kind, with Supabase at the wire."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from app.domain.entities import EntityRef, EventStatus, Kind
from app.domain.events import Event
from app.domain.failures import FailureKind
from app.domain.retry import BreakerState
from app.relay.dispatch import BATCH_ENTITIES, PROBE_SECONDS, Dispatcher
from app.supabase.client import SupabaseClient
from app.supabase.mapping import read_target
from app.supabase.targets import Targets
from tests.fake_postgrest import COLUMNS, KEYS, FakePostgrest
from tests.histories import World, find_desired_rows, histories, make_event, ref_of
from tests.relay.bench import (
    TABLES,
    Bench,
    UniquePostgrest,
    await_flights,
    count_flights,
    run_bench,
)


class DemandingPostgrest(FakePostgrest):
    """Has trips that need a start date; some of them are there.

    Attributes:
        there: the ids of the trips that are there.
    """

    def __init__(self, there: Iterable[str]) -> None:
        super().__init__()
        self.there = set(there)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            trip_id = request.url.params["id"].removeprefix("in.(").removesuffix(")")
            return httpx.Response(200, json=[{"id": trip_id}] if trip_id in self.there else [])
        if request.method == "POST":
            sentence = (
                'null value in column "start_date" of relation "trips" violates not-null constraint'
            )
            return httpx.Response(400, json={"code": "23502", "message": sentence})
        return httpx.Response(200, json=[])


TRIPS_THAT_START = Targets(trips=read_target(Kind.TRIP, '{"extra": ["start_date"]}'))


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    async with run_bench(store_url, FakePostgrest(has_foreign_keys=True)) as bench:
        yield bench


def bodies(postgrest: FakePostgrest) -> list[tuple[str, str, int]]:
    """Give method, table and number of rows of each write."""
    return [
        (
            request.method,
            request.url.path.rpartition("/")[2],
            len(json.loads(request.content)) if request.content else 0,
        )
        for request in postgrest.writes
    ]


async def test_dispatch_given_every_kind_writes_in_the_order_that_foreign_keys_need(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.membership("created"), world.trip("created"), world.user("created"))
    await bench.drain()
    assert bodies(bench.postgrest) == [
        ("POST", "users", 1),
        ("POST", "trips", 1),
        ("POST", "trip_memberships", 1),
    ]
    await bench.receive(world.user("deleted", at=1), world.trip("deleted", at=1))
    await bench.drain()
    assert [body[:2] for body in bodies(bench.postgrest)[3:]] == [
        ("DELETE", "trip_memberships"),
        ("DELETE", "trips"),
        ("DELETE", "users"),
    ]
    assert bench.held() == {}


async def test_dispatch_given_a_thousand_updates_of_one_row_writes_once(bench: Bench) -> None:
    world = World()
    await bench.receive(*(world.trip("updated", at=n, name=f"{n}") for n in range(1000)))
    await bench.drain()
    assert bodies(bench.postgrest) == [("POST", "trips", 1)]
    (row,) = bench.postgrest.rows("trips")
    assert row["name"] == "999"


async def test_dispatch_after_an_update_that_changes_no_column_writes_nothing(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.user("created", at=1))
    await bench.drain()
    count = len(bench.postgrest.requests)
    await bench.receive(world.user("updated", at=2))
    await bench.drain()
    assert len(bench.postgrest.requests) == count


async def test_dispatch_while_supabase_is_away_keeps_everything_and_uses_up_no_attempt(
    bench: Bench,
) -> None:
    worlds = [World() for _ in range(5)]
    events = [world.trip("created") for world in worlds]
    await bench.receive(*events)
    bench.postgrest.break_connection()
    for _ in range(50):
        assert await bench.dispatcher.dispatch_due()
        bench.clock.advance(60)
    view = bench.dispatcher.view
    assert view.breaker is BreakerState.OPEN
    assert view.failure is not None
    assert view.failure.kind is FailureKind.OUTAGE
    found = await bench.store.find_event(events[0].event_id)
    assert found is not None
    assert (found.status, found.entity.attempts) == (EventStatus.PENDING, 0)
    # Open, it probes with a single entity.
    assert bodies(bench.postgrest)[-1] == ("POST", "trips", 1)
    bench.postgrest.heal()
    await bench.drain()
    assert len(bench.held()) == 5
    assert bench.dispatcher.view.breaker is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"message": "Invalid API key"}, FailureKind.MISCONFIGURED),
        (404, {"code": "PGRST205", "message": "x"}, FailureKind.SCHEMA_MISMATCH),
        (400, {"code": "PGRST204", "message": "x"}, FailureKind.SCHEMA_MISMATCH),
        (503, {"code": "PGRST000", "message": "x"}, FailureKind.OUTAGE),
        (429, None, FailureKind.OUTAGE),
    ],
)
async def test_dispatch_given_what_stops_everything_holds_everything_and_heals(
    bench: Bench, status: int, body: object, kind: FailureKind
) -> None:
    event = World().trip("created")
    await bench.receive(event)
    bench.postgrest.answer_with(status, body)
    for _ in range(20):
        await bench.dispatcher.dispatch_due()
    failure = bench.dispatcher.view.failure
    assert failure is not None
    assert failure.kind is kind
    assert await bench.status_of(event) is EventStatus.PENDING
    bench.postgrest.heal()
    await bench.drain()
    assert await bench.status_of(event) is EventStatus.APPLIED
    assert bench.dispatcher.view.failure is None


async def test_dispatch_given_one_bad_row_among_many_applies_all_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    worlds = [World() for _ in range(100)]
    events = [world.user("created", name=f"user{n}") for n, world in enumerate(worlds)]
    await bench.receive(*events)
    bench.postgrest.answer_with(
        400,
        {
            "code": "23514",
            "message": 'new row for relation "users" violates check constraint "no_37"',
            "details": "Failing row contains (…, user37@example.com, user37).",
        },
        of=lambda request: b"user37@" in request.content,
    )
    with caplog.at_level(logging.INFO):
        await bench.drain()
    statuses = [await bench.status_of(event) for event in events]
    assert statuses.count(EventStatus.APPLIED) == 99
    assert statuses[37] is EventStatus.DEAD
    found = await bench.store.find_event(events[37].event_id)
    assert found is not None
    assert found.entity.last_error_code == "23514"
    assert "check constraint" in (found.entity.last_error or "")
    assert "user37@" not in caplog.text
    assert found.entity.ref.key in caplog.text


async def test_dispatch_of_rows_that_lack_a_column_updates_each_and_refuses_the_new(
    store_url: str,
) -> None:
    worlds = [World() for _ in range(4)]
    events = [world.trip("updated") for world in worlds]
    postgrest = DemandingPostgrest(world.trips[0] for world in worlds[:3])
    async with run_bench(store_url, postgrest, TRIPS_THAT_START) as bench:
        await bench.receive(*events)
        await bench.drain()
        statuses = [await bench.status_of(event) for event in events]
        assert statuses == [*[EventStatus.APPLIED] * 3, EventStatus.DEAD]
        # One look whether it goes in bulk, and no halving: all rows lack the same.
        assert [request.method for request in postgrest.writes] == ["POST", *["PATCH"] * 4]
        found = await bench.store.find_event(events[3].event_id)
        assert found is not None
        assert (found.entity.last_error or "").endswith("the event lacks start_date")


async def test_dispatch_whose_updates_meet_an_outage_keeps_the_rest_and_goes_on(
    store_url: str,
) -> None:
    worlds = [World() for _ in range(3)]
    events = [world.trip("updated") for world in worlds]
    second = sorted(world.trips[0] for world in worlds)[1]
    postgrest = DemandingPostgrest(world.trips[0] for world in worlds)
    async with run_bench(store_url, postgrest, TRIPS_THAT_START) as bench:
        await bench.receive(*events)
        postgrest.answer_with(503, of=lambda request: second in str(request.url))
        await bench.dispatcher.dispatch_due()
        statuses = [await bench.status_of(event) for event in events]
        assert sorted(statuses) == [EventStatus.APPLIED, *[EventStatus.PENDING] * 2]
        postgrest.heal()
        bench.clock.advance(1.0)
        await bench.drain()
        assert {await bench.status_of(event) for event in events} == {EventStatus.APPLIED}


async def test_dispatch_given_a_member_before_his_trip_waits_and_goes_on_at_once(
    bench: Bench,
) -> None:
    world = World()
    membership = world.membership("created")
    await bench.receive(world.user("created"), membership)
    await bench.drain()
    assert await bench.status_of(membership) is EventStatus.PENDING
    await bench.receive(world.trip("created"))
    await bench.drain()
    assert await bench.status_of(membership) is EventStatus.APPLIED


async def test_dispatch_given_a_member_whose_trip_never_comes_gives_up_after_a_day(
    bench: Bench,
) -> None:
    membership = World().membership("created")
    await bench.receive(membership)
    await bench.drain()
    bench.clock.advance(24 * 3600 - 1)
    await bench.drain()
    assert await bench.status_of(membership) is EventStatus.PENDING
    bench.clock.advance(61)
    await bench.drain()
    assert await bench.status_of(membership) is EventStatus.DEAD


async def test_dispatch_given_a_contested_value_tries_ten_times(bench: Bench) -> None:
    event = World().user("created")
    await bench.receive(event)
    bench.postgrest.answer_with(409, {"code": "23505", "message": "x"})
    for _ in range(9):
        await bench.drain()
        bench.clock.advance(60)
    assert await bench.status_of(event) is EventStatus.PENDING
    await bench.drain()
    assert await bench.status_of(event) is EventStatus.DEAD
    assert len(bench.postgrest.writes) == 10


async def test_dispatch_of_users_who_swap_names_in_separate_batches_settles_both(
    store_url: str,
) -> None:
    async with run_bench(store_url, UniquePostgrest()) as bench:
        world = World()
        await bench.receive(world.user("created", 0, at=1, name="a"))
        await bench.receive(world.user("created", 1, at=1, name="b"))
        await bench.drain()
        first = world.user("updated", 0, at=2, name="b")
        await bench.receive(first)
        await bench.drain()
        assert await bench.status_of(first) is EventStatus.PENDING
        second = world.user("updated", 1, at=2, name="a")
        await bench.receive(second)
        await bench.drain()
        assert await bench.status_of(first) is EventStatus.APPLIED
        assert await bench.status_of(second) is EventStatus.APPLIED
        names = {row["id"]: row["username"] for row in bench.postgrest.rows("users")}
        assert names == {world.users[0]: "b", world.users[1]: "a"}


async def test_dispatch_heals_a_parent_that_somebody_removed_in_supabase(bench: Bench) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.drain()
    bench.postgrest.tables["trips"].clear()
    membership = world.membership("created")
    await bench.receive(membership)
    await bench.drain()
    writes = len(bench.postgrest.writes)
    assert await bench.status_of(membership) is EventStatus.PENDING
    bench.clock.advance(60)
    await bench.drain()
    assert await bench.status_of(membership) is EventStatus.APPLIED
    assert len(bench.postgrest.writes) - writes <= 4


async def test_dispatch_with_a_parent_that_is_never_enough_backs_off(bench: Bench) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.drain()
    bench.postgrest.answer_with(
        409,
        {"code": "23503", "message": "x"},
        of=lambda request: "trip_memberships" in request.url.path,
    )
    await bench.receive(world.membership("created"))
    for _ in range(60):
        await bench.drain()
        bench.clock.advance(1)
    # Some eight attempts in a minute, with both parents each.
    assert len(bench.postgrest.writes) < 40


async def test_dispatch_of_a_removal_overtakes_a_hundred_thousand_grants_behind_a_slow_supabase(
    bench: Bench, engine: Engine
) -> None:
    trip = str(uuid.uuid4())
    data = {"trip_id": trip, "role": "MEMBER", "status": "ACTIVE"}
    for _ in range(100):
        await bench.receive(
            *(
                make_event("membership.created", data | {"user_id": str(uuid.uuid4())})
                for _ in range(1000)
            )
        )
    gate = bench.postgrest.hang()
    running = asyncio.create_task(bench.dispatcher.dispatch_due())
    await await_flights(bench.store, engine, 2)
    removal = World().membership("deleted")
    await bench.receive(removal)
    bench.postgrest.answer_with(201)
    next_gate = bench.postgrest.hang()
    gate.set()
    await bench.postgrest.wait_for_writes(2)
    bench.dispatcher.stop()
    next_gate.set()
    await running
    # It waited for the one bulk that was under way, not for what was ready to follow that.
    assert bench.postgrest.writes[1].method == "DELETE"
    assert await bench.status_of(removal) is EventStatus.APPLIED
    assert (await bench.store.measure_backlog(NOW)).pending > 98_000


class LosesRequests:
    """Holds requests back on the way to Supabase; whoever sent them sees a timeout."""

    def __init__(self, postgrest: FakePostgrest) -> None:
        self.postgrest = postgrest
        self.held: list[httpx.Request] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.held.append(request)
        raise httpx.ReadTimeout("no answer")

    async def land(self) -> None:
        for request in self.held:
            await self.postgrest.answer(request)


async def test_dispatch_of_a_grant_that_lands_after_its_removal_gives_no_lasting_access(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    await bench.drain()
    await bench.receive(world.membership("created", at=1))
    lost = LosesRequests(bench.postgrest)
    async with httpx.AsyncClient(
        base_url="http://supabase.test/rest/v1", transport=httpx.MockTransport(lost.answer)
    ) as http:
        # Another process's, as it were: all that is left of it is in the store.
        killed = Dispatcher(
            bench.store,
            SupabaseClient(http, clock=bench.clock),
            bench.settlements,
            clock=bench.clock,
            jitter=lambda: 0.5,
        )
        await killed.dispatch_due()
    removal = world.membership("deleted", at=2)
    await bench.receive(removal)
    await bench.drain()
    assert await bench.status_of(removal) is EventStatus.APPLIED
    await lost.land()
    assert ref_of(removal) in bench.held()
    bench.clock.advance(61)
    await bench.drain()
    assert ref_of(removal) not in bench.held()
    writes = len(bench.postgrest.writes)
    bench.clock.advance(61)
    await bench.drain()
    assert len(bench.postgrest.writes) == writes, "once is enough"


@pytest.mark.parametrize(
    ("status", "body"),
    [(201, None), (401, {"message": "Invalid API key"}), (400, {"code": "23514"})],
)
async def test_dispatch_that_was_answered_leaves_nothing_in_flight(
    bench: Bench, engine: Engine, status: int, body: object
) -> None:
    bench.postgrest.answer_with(status, body)
    await bench.receive(World().trip("created"))
    await bench.dispatcher.dispatch_due()
    assert count_flights(engine) == 0


async def test_dispatch_given_more_than_a_batch_takes_removals_first(bench: Bench) -> None:
    worlds = [World() for _ in range(BATCH_ENTITIES + 10)]
    await bench.receive(*(world.trip("created") for world in worlds))
    removal = World().membership("deleted")
    await bench.receive(removal)
    await bench.drain()
    sent = [(method, rows) for method, _, rows in bodies(bench.postgrest)]
    assert sent == [("DELETE", 0), ("POST", BATCH_ENTITIES - 1), ("POST", 11)]


async def test_dispatch_that_crashes_is_shown_and_starts_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    event = World().trip("created")
    await bench.receive(event)

    def crash(_: str) -> httpx.TransportError:
        raise ZeroDivisionError

    bench.postgrest.break_connection(crash)
    running = asyncio.create_task(bench.dispatcher.run())
    await bench.postgrest.wait_for_writes(2)
    assert bench.dispatcher.view.crash == "ZeroDivisionError"
    assert "crashed" in caplog.text
    bench.postgrest.heal()
    with bench.settlements.watch(ref_of(event)) as settled:
        await settled.wait()
    bench.dispatcher.stop()
    await running
    assert await bench.status_of(event) is EventStatus.APPLIED


async def test_dispatch_run_wakes_for_what_is_received(bench: Bench) -> None:
    running = asyncio.create_task(bench.dispatcher.run())
    # It has looked whether Supabase is there, and sleeps.
    await bench.postgrest.wait_for_requests(3)
    event = World().trip("created")
    with bench.settlements.watch(ref_of(event)) as settled:
        await bench.receive(event)
        bench.dispatcher.wake()
        await settled.wait()
    bench.dispatcher.stop()
    await running
    assert await bench.status_of(event) is EventStatus.APPLIED


async def test_dispatch_idle_looks_after_supabase_and_heals_without_work(bench: Bench) -> None:
    bench.postgrest.answer_with(401, {"message": "Invalid API key"})
    running = asyncio.create_task(bench.dispatcher.run())
    await bench.postgrest.wait_for_requests(1)
    # Each look is asked for by the clock: the one after the failure comes when it has passed.
    bench.postgrest.heal()
    bench.clock.advance(PROBE_SECONDS)
    bench.dispatcher.wake()
    await bench.postgrest.wait_for_requests(4)
    bench.dispatcher.stop()
    await running
    assert bench.dispatcher.view.failure is None
    assert bench.dispatcher.view.has_contact


async def test_dispatch_stopped_during_a_batch_records_it(bench: Bench) -> None:
    event = World().trip("created")
    await bench.receive(event)
    gate = bench.postgrest.hang()
    running = asyncio.create_task(bench.dispatcher.run())
    await bench.postgrest.wait_for_writes(1)
    bench.dispatcher.stop()
    gate.set()
    await running
    assert await bench.status_of(event) is EventStatus.APPLIED


async def test_dispatch_cancelled_during_a_batch_leaves_it_pending(bench: Bench) -> None:
    world = World()
    await bench.receive(world.user("created"), world.trip("created"))
    bench.postgrest.answer_with(201, of=lambda request: "users" in request.url.path)
    running = asyncio.create_task(bench.dispatcher.run())
    await bench.postgrest.wait_for_writes(1)
    bench.postgrest.hang()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    bench.postgrest.heal()
    await bench.drain()
    assert set(bench.held()) >= {ref_of(world.trip("deleted"))}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
async def test_dispatch_of_any_history_with_outages_ends_at_what_the_oracle_says(
    bench: Bench, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    _, events = history
    rest = list(events)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        group, rest = rest[:size], rest[size:]
        await bench.receive(*group)
        match data.draw(st.sampled_from(("wait", "drain", "outage", "half"))):
            case "drain":
                await bench.drain()
            case "outage":
                bench.postgrest.answer_with(503, {"code": "PGRST000", "message": "x"})
                await bench.dispatcher.dispatch_due()
                bench.postgrest.heal()
            case "half":
                # Some requests of the batch land, whose answers nobody sees.
                bench.postgrest.break_connection(httpx.ReadError) if data.draw(
                    st.booleans()
                ) else bench.postgrest.answer_with(
                    503, None, of=lambda request: request.method == "DELETE"
                )
                await bench.dispatcher.dispatch_due()
                bench.postgrest.heal()
            case _:
                pass
    await bench.drain()
    desired = find_desired_rows(events)
    held = bench.held()
    for ref, row in desired.items():
        if row is None:
            assert ref not in held
        elif ref.kind is Kind.MEMBERSHIP and not _has_parents(ref, desired):
            # The foreign key does not let it in; it waits.
            assert ref not in held
        else:
            assert held[ref] == json.loads(row)


def _has_parents(ref: EntityRef, desired: dict[EntityRef, str | None]) -> bool:
    trip_id, user_id = ref.key.split("/")
    parents = ((Kind.TRIP, trip_id), (Kind.USER, user_id))
    return all(
        desired.get(EntityRef(kind, key)) is not None  # type: ignore[arg-type]
        for kind, key in parents
    )


def test_tables_of_the_fake_are_those_that_the_relay_writes() -> None:
    assert set(TABLES.values()) == set(COLUMNS) == set(KEYS)
