"""The dispatcher on both databases: what it sends, in which order, and how it stops."""

import asyncio
import uuid

import httpx
import pytest

from app.domain.entities import EventStatus
from app.domain.failures import RequestFailureKind
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.dispatch import PROBE_SECONDS
from app.relay.health import HealthStatus
from app.store import event_queries
from tests.fake_postgrest import COLUMNS, KEYS, is_write, read_operations
from tests.histories import NOW, World, make_event, ref_of
from tests.relay.harness import TABLES, Bench, count_rows, holds


def name_rows(request: httpx.Request) -> list[tuple[str, str, str]]:
    """Return operation, table and id of each row of a request."""
    return [
        (each["operation"], each["table"].removeprefix("public."), row.get("id") or row["trip_id"])
        for each in read_operations(request)
        for row in each["rows"]
    ]


async def test_dispatch_given_every_kind_writes_in_the_order_that_foreign_keys_need(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.membership("created"), world.trip("created"), world.user("created"))
    await bench.drain()
    assert bench.postgrest.operations == [
        ("upsert", "users", 1),
        ("upsert", "trips", 1),
        ("upsert", "trip_memberships", 1),
    ]
    assert len(bench.postgrest.writes) == 1
    await bench.receive(world.user("deleted", at=1), world.trip("deleted", at=1))
    await bench.drain()
    assert bench.postgrest.operations[3:] == [
        ("delete", "trip_memberships", 1),
        ("delete", "trips", 1),
        ("delete", "users", 1),
    ]
    assert bench.held() == {}


async def test_dispatch_of_every_request_kind_sends_revocations_writes_deletes(
    bench: Bench,
) -> None:
    gone, left, new = World(), World(), World()
    await bench.receive(gone.user("created"), gone.trip("created"))
    for world in (left, new):
        await bench.receive(
            world.user("created"), world.trip("created"), world.membership("created")
        )
    await bench.drain()
    before = len(bench.postgrest.writes)
    await bench.receive(
        gone.trip("deleted", at=1),
        new.trip("updated", at=1, name="Porto"),
        new.membership("updated", at=1, status="INACTIVE"),
        left.membership("deleted", at=1),
    )
    await bench.drain()
    assert [name_rows(request) for request in bench.postgrest.writes[before:]] == [
        [
            ("delete", "trip_memberships", left.trips[0]),
            ("upsert", "trip_memberships", new.trips[0]),
        ],
        [("upsert", "trips", new.trips[0])],
        [("delete", "trips", gone.trips[0])],
    ]


async def test_dispatch_given_a_thousand_updates_of_one_row_writes_once(bench: Bench) -> None:
    world = World()
    await bench.receive(*(world.trip("updated", at=n, name=f"{n}") for n in range(1000)))
    await bench.drain()
    assert bench.postgrest.operations == [("upsert", "trips", 1)]
    (row,) = bench.postgrest.rows("trips")
    assert row["name"] == "999"


async def test_dispatch_after_an_update_that_changes_no_column_sends_nothing(
    bench: Bench,
) -> None:
    world = World()
    await bench.receive(world.user("created", at=1))
    await bench.drain()
    count = len(bench.postgrest.requests)
    event = world.user("updated", at=2)
    await bench.receive(event)
    await bench.drain()
    assert len(bench.postgrest.requests) == count
    assert await bench.status_of(event) is EventStatus.APPLIED


async def test_dispatch_of_more_than_one_request_writes_each_entity_once_in_the_order_received(
    bench: Bench,
) -> None:
    trips = [World().trip("created") for _ in range(2 * REQUEST_ENTITIES + 200)]
    for number in range(0, len(trips), 100):
        await bench.receive(*trips[number : number + 100])
        bench.advance(0.001)
    await bench.drain()
    sent = [{row_id for _, _, row_id in name_rows(write)} for write in bench.postgrest.writes]
    assert [len(ids) for ids in sent] == [REQUEST_ENTITIES, REQUEST_ENTITIES, 200]
    assert set.union(*sent) == {trip.key for trip in trips}
    assert (await bench.store.read(event_queries.measure_backlog, NOW)).pending == 0


async def test_dispatch_sends_one_request_at_a_time(bench: Bench) -> None:
    await bench.receive(*(World().trip("created") for _ in range(3 * REQUEST_ENTITIES)))
    gate = bench.postgrest.hang(of=is_write)
    running = asyncio.create_task(bench.drain())
    await bench.postgrest.wait_for_hanging()
    # No other request is sent while it hangs, although these commits take time.
    for _ in range(5):
        await bench.store.write_heartbeat(NOW)
    assert len(bench.postgrest.writes) == 1
    gate.set()
    await running
    assert len(bench.postgrest.writes) == 3


async def test_dispatch_of_an_entity_changed_in_flight_applies_it_again(
    bench: Bench,
) -> None:
    world = World()
    first = world.trip("created", name="Lisbon")
    await bench.receive(first)
    gate = bench.postgrest.hang(of=is_write)
    running = asyncio.create_task(bench.drain())
    await bench.postgrest.wait_for_hanging()
    newer = world.trip("updated", at=1, name="Porto")
    await bench.receive(newer)
    gate.set()
    await running
    assert len(bench.postgrest.writes) == 2
    assert bench.held()[ref_of(newer)]["name"] == "Porto"
    assert await bench.statuses_of(first, newer) == [EventStatus.SUPERSEDED, EventStatus.APPLIED]


async def test_dispatch_of_a_revocation_behind_a_backlog_of_grants_waits_for_one_request(
    bench: Bench,
) -> None:
    trip = str(uuid.uuid4())
    data = {"trip_id": trip, "role": "MEMBER", "status": "ACTIVE"}
    for _ in range(10):
        await bench.receive(
            *(
                make_event("membership.created", data | {"user_id": str(uuid.uuid4())})
                for _ in range(1000)
            )
        )
    gate = bench.postgrest.hang(of=is_write)
    running = asyncio.create_task(bench.dispatcher.dispatch_due())
    await bench.postgrest.wait_for_hanging()
    revocation = World().membership("deleted")
    await bench.receive(revocation)
    next_gate = bench.postgrest.hang(of=is_write)
    gate.set()
    await bench.postgrest.wait_for_hanging()
    bench.dispatcher.stop()
    next_gate.set()
    await running
    assert holds(revocation)(bench.postgrest.writes[1])
    assert await bench.status_of(revocation) is EventStatus.APPLIED
    assert (await bench.store.read(event_queries.measure_backlog, NOW)).pending > 8_000


async def test_dispatch_of_rows_that_were_not_tried_sends_them_next(bench: Bench) -> None:
    trips = [World().trip("created") for _ in range(100)]
    await bench.receive(*trips)
    bench.postgrest.set_budget(30)
    await bench.drain()
    assert [count_rows(request) for request in bench.postgrest.writes] == [100, 70, 40, 10]
    assert len(bench.held()) == 100
    assert {(await bench.view(trip)).attempts for trip in trips[::9]} == {0}


# --- running ---------------------------------------------------------------------------------


async def test_dispatch_that_crashes_is_reported_and_starts_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    event = World().trip("created")
    await bench.receive(event)

    def crash(_: str) -> httpx.TransportError:
        raise ZeroDivisionError

    bench.postgrest.break_connection(crash)
    async with bench.running():
        await bench.postgrest.wait_for_requests(2)
        assert bench.dispatcher.status.crash == "ZeroDivisionError"
        assert "crashed" in caplog.text
        health = await bench.report_health()
        assert health.dispatcher.status is HealthStatus.DEGRADED
        assert "ZeroDivisionError" in (health.dispatcher.reason or "")
        bench.postgrest.heal()
        await bench.wait_until_applied(event)
    assert bench.dispatcher.status.crash is None


async def test_dispatch_run_wakes_for_a_received_event(bench: Bench) -> None:
    async with bench.running():
        # The dispatcher has claimed and probed, and sleeps.
        await bench.postgrest.wait_for_requests(2)
        event = World().trip("created")
        await bench.receive(event)
        bench.dispatcher.wake()
        await bench.wait_until_applied(event)


async def test_dispatch_run_while_idle_probes_supabase_and_heals_without_work(
    bench: Bench,
) -> None:
    bench.postgrest.answer_with(401, {"message": "Invalid API key"})
    async with bench.running():
        await bench.postgrest.wait_for_requests(1)
        health = await bench.report_health()
        assert health.supabase.status is HealthStatus.DEGRADED
        assert "Invalid API key" in (health.supabase.reason or "")
        failure = bench.dispatcher.status.failure
        assert failure is not None
        assert failure.kind is RequestFailureKind.MISCONFIGURED
        bench.postgrest.heal()
        bench.advance(PROBE_SECONDS)
        await bench.postgrest.wait_for_requests(3)
    assert bench.dispatcher.status.failure is None
    assert bench.dispatcher.status.has_contact
    assert (await bench.report_health()).supabase.status is HealthStatus.OK


async def test_dispatch_stopped_during_a_request_records_it_and_sends_no_other(
    bench: Bench,
) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES + 1)]
    await bench.receive(*trips)
    gate = bench.postgrest.hang(of=is_write)
    async with bench.running() as task:
        await bench.postgrest.wait_for_hanging()
        bench.dispatcher.stop()
        gate.set()
        await task
    assert len(bench.postgrest.writes) == 1
    assert (await bench.store.read(event_queries.measure_backlog, NOW)).pending == 1


async def test_dispatch_cancelled_during_a_request_leaves_it_pending(bench: Bench) -> None:
    event = World().trip("created")
    await bench.receive(event)
    bench.postgrest.hang(of=is_write)
    async with bench.running() as task:
        await bench.postgrest.wait_for_hanging()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await bench.status_of(event) is EventStatus.PENDING
    bench.postgrest.heal()
    bench.dispatcher = bench.start_dispatcher()
    await bench.drain()
    assert await bench.status_of(event) is EventStatus.APPLIED


def test_tables_of_the_fake_are_those_that_the_relay_writes() -> None:
    assert set(TABLES.values()) == set(COLUMNS) == set(KEYS)
