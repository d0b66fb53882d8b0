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
from app.store import backlog_queries
from tests.fake_postgrest import COLUMNS, KEYS, is_write, read_operations
from tests.histories import NOW, World, make_event, ref_of
from tests.relay.harness import TABLES, Harness, count_rows, holds


def name_rows(request: httpx.Request) -> list[tuple[str, str, str]]:
    """Return operation, table and id of each row of a request."""
    return [
        (each["operation"], each["table"].removeprefix("public."), row.get("id") or row["trip_id"])
        for each in read_operations(request)
        for row in each["rows"]
    ]


async def test_dispatch_given_every_kind_writes_in_the_order_that_foreign_keys_need(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.membership("created"), world.trip("created"), world.user("created"))
    await harness.drain()
    assert harness.postgrest.operations == [
        ("upsert", "users", 1),
        ("upsert", "trips", 1),
        ("upsert", "trip_memberships", 1),
    ]
    assert len(harness.postgrest.writes) == 1
    await harness.receive(world.user("deleted", at=1), world.trip("deleted", at=1))
    await harness.drain()
    assert harness.postgrest.operations[3:] == [
        ("delete", "trip_memberships", 1),
        ("delete", "trips", 1),
        ("delete", "users", 1),
    ]
    assert harness.held() == {}


async def test_dispatch_of_every_request_kind_sends_revocations_writes_deletes(
    harness: Harness,
) -> None:
    gone, left, new = World(), World(), World()
    await harness.receive(gone.user("created"), gone.trip("created"))
    for world in (left, new):
        await harness.receive(
            world.user("created"), world.trip("created"), world.membership("created")
        )
    await harness.drain()
    before = len(harness.postgrest.writes)
    await harness.receive(
        gone.trip("deleted", at=1),
        new.trip("updated", at=1, name="Porto"),
        new.membership("updated", at=1, status="INACTIVE"),
        left.membership("deleted", at=1),
    )
    await harness.drain()
    assert [name_rows(request) for request in harness.postgrest.writes[before:]] == [
        [
            ("delete", "trip_memberships", left.trips[0]),
            ("upsert", "trip_memberships", new.trips[0]),
        ],
        [("upsert", "trips", new.trips[0])],
        [("delete", "trips", gone.trips[0])],
    ]


async def test_dispatch_given_a_thousand_updates_of_one_row_writes_once(harness: Harness) -> None:
    world = World()
    await harness.receive(*(world.trip("updated", at=n, name=f"{n}") for n in range(1000)))
    await harness.drain()
    assert harness.postgrest.operations == [("upsert", "trips", 1)]
    (row,) = harness.postgrest.rows("trips")
    assert row["name"] == "999"


async def test_dispatch_after_an_update_that_changes_no_column_sends_nothing(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.user("created", at=1))
    await harness.drain()
    count = len(harness.postgrest.requests)
    event = world.user("updated", at=2)
    await harness.receive(event)
    await harness.drain()
    assert len(harness.postgrest.requests) == count
    assert await harness.status_of(event) is EventStatus.APPLIED


async def test_dispatch_of_more_than_one_request_writes_each_entity_once_in_the_order_received(
    harness: Harness,
) -> None:
    trips = [World().trip("created") for _ in range(2 * REQUEST_ENTITIES + 200)]
    for number in range(0, len(trips), 100):
        await harness.receive(*trips[number : number + 100])
        harness.advance(0.001)
    await harness.drain()
    sent = [{row_id for _, _, row_id in name_rows(write)} for write in harness.postgrest.writes]
    assert [len(ids) for ids in sent] == [REQUEST_ENTITIES, REQUEST_ENTITIES, 200]
    assert set.union(*sent) == {trip.key for trip in trips}
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 0


async def test_dispatch_sends_one_request_at_a_time(harness: Harness) -> None:
    await harness.receive(*(World().trip("created") for _ in range(3 * REQUEST_ENTITIES)))
    gate = harness.postgrest.hang(of=is_write)
    running = asyncio.create_task(harness.drain())
    await harness.postgrest.wait_for_hanging()
    # No other request is sent while it hangs, although these commits take time.
    for _ in range(5):
        await harness.store.write_heartbeat(NOW)
    assert len(harness.postgrest.writes) == 1
    gate.set()
    await running
    assert len(harness.postgrest.writes) == 3


async def test_dispatch_of_an_entity_changed_in_flight_applies_it_again(
    harness: Harness,
) -> None:
    world = World()
    first = world.trip("created", name="Lisbon")
    await harness.receive(first)
    gate = harness.postgrest.hang(of=is_write)
    running = asyncio.create_task(harness.drain())
    await harness.postgrest.wait_for_hanging()
    newer = world.trip("updated", at=1, name="Porto")
    await harness.receive(newer)
    gate.set()
    await running
    assert len(harness.postgrest.writes) == 2
    assert harness.held()[ref_of(newer)]["name"] == "Porto"
    assert await harness.statuses_of(first, newer) == [EventStatus.SUPERSEDED, EventStatus.APPLIED]


async def test_dispatch_of_a_revocation_behind_a_backlog_of_grants_waits_for_one_request(
    harness: Harness,
) -> None:
    trip = str(uuid.uuid4())
    data = {"trip_id": trip, "role": "MEMBER", "status": "ACTIVE"}
    for _ in range(10):
        await harness.receive(
            *(
                make_event("membership.created", data | {"user_id": str(uuid.uuid4())})
                for _ in range(1000)
            )
        )
    gate = harness.postgrest.hang(of=is_write)
    running = asyncio.create_task(harness.dispatcher.dispatch_due())
    await harness.postgrest.wait_for_hanging()
    revocation = World().membership("deleted")
    await harness.receive(revocation)
    next_gate = harness.postgrest.hang(of=is_write)
    gate.set()
    await harness.postgrest.wait_for_hanging()
    harness.dispatcher.stop()
    next_gate.set()
    await running
    assert holds(revocation)(harness.postgrest.writes[1])
    assert await harness.status_of(revocation) is EventStatus.APPLIED
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending > 8_000


async def test_dispatch_of_rows_that_were_not_tried_sends_them_next(harness: Harness) -> None:
    trips = [World().trip("created") for _ in range(100)]
    await harness.receive(*trips)
    harness.postgrest.set_budget(30)
    await harness.drain()
    assert [count_rows(request) for request in harness.postgrest.writes] == [100, 70, 40, 10]
    assert len(harness.held()) == 100
    assert {(await harness.view(trip)).attempts for trip in trips[::9]} == {0}


# --- running ---------------------------------------------------------------------------------


async def test_dispatch_that_crashes_is_reported_and_starts_again(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    event = World().trip("created")
    await harness.receive(event)

    def crash(_: str) -> httpx.TransportError:
        raise ZeroDivisionError

    harness.postgrest.break_connection(crash)
    async with harness.running():
        await harness.postgrest.wait_for_requests(2)
        assert harness.dispatcher.status.crash == "ZeroDivisionError"
        assert "crashed" in caplog.text
        health = await harness.report_health()
        assert health.dispatcher.status is HealthStatus.DEGRADED
        assert "ZeroDivisionError" in (health.dispatcher.reason or "")
        harness.postgrest.heal()
        await harness.wait_until_applied(event)
    assert harness.dispatcher.status.crash is None


async def test_dispatch_run_wakes_for_a_received_event(harness: Harness) -> None:
    async with harness.running():
        # The dispatcher has claimed and probed, and sleeps.
        await harness.postgrest.wait_for_requests(2)
        event = World().trip("created")
        await harness.receive(event)
        harness.dispatcher.wake()
        await harness.wait_until_applied(event)


async def test_dispatch_run_while_idle_probes_supabase_and_heals_without_work(
    harness: Harness,
) -> None:
    harness.postgrest.respond_with(401, {"message": "Invalid API key"})
    async with harness.running():
        await harness.postgrest.wait_for_requests(1)
        health = await harness.report_health()
        assert health.supabase.status is HealthStatus.DEGRADED
        assert "Invalid API key" in (health.supabase.reason or "")
        failure = harness.dispatcher.status.failure
        assert failure is not None
        assert failure.kind is RequestFailureKind.MISCONFIGURED
        harness.postgrest.heal()
        harness.advance(PROBE_SECONDS)
        await harness.postgrest.wait_for_requests(3)
    assert harness.dispatcher.status.failure is None
    assert harness.dispatcher.status.has_contact
    assert (await harness.report_health()).supabase.status is HealthStatus.OK


async def test_dispatch_stopped_during_a_request_records_it_and_sends_no_other(
    harness: Harness,
) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES + 1)]
    await harness.receive(*trips)
    gate = harness.postgrest.hang(of=is_write)
    async with harness.running() as task:
        await harness.postgrest.wait_for_hanging()
        harness.dispatcher.stop()
        gate.set()
        await task
    assert len(harness.postgrest.writes) == 1
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 1


async def test_dispatch_cancelled_during_a_request_leaves_it_pending(harness: Harness) -> None:
    event = World().trip("created")
    await harness.receive(event)
    harness.postgrest.hang(of=is_write)
    async with harness.running() as task:
        await harness.postgrest.wait_for_hanging()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await harness.status_of(event) is EventStatus.PENDING
    harness.postgrest.heal()
    harness.dispatcher = harness.start_dispatcher()
    await harness.drain()
    assert await harness.status_of(event) is EventStatus.APPLIED


def test_tables_of_the_fake_are_those_that_the_relay_writes() -> None:
    assert set(TABLES.values()) == set(COLUMNS) == set(KEYS)
