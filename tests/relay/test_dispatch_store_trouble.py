"""While the store cannot commit, only revocations are dispatched."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest

from app.domain.entities import EventStatus
from app.domain.events import Event
from app.domain.failpoints import Failpoint
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.health import HealthStatus
from app.store import backlog_queries
from app.store.store import Store
from app.supabase.client import open_http_client
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World
from tests.postgres import PostgresServer
from tests.relay.harness import Harness, RunningClock, count_rows, holds, picks
from tests.stores import create_postgres_store


class Disk:
    """A disk that can be full: it raises the error of either database before a commit."""

    def __init__(self) -> None:
        self.is_full = False
        self.url = ""

    def hit(self, point: Failpoint) -> None:
        if point is Failpoint.BEFORE_COMMIT and self.is_full:
            if self.url.startswith("sqlite"):
                raise sqlite3.OperationalError("database or disk is full")
            raise psycopg.errors.DiskFull("could not extend file")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@asynccontextmanager
async def open_harness(store_url: str, disk: Disk, *, is_running: bool) -> AsyncIterator[Harness]:
    disk.url = store_url
    store = await Store.open(store_url, hit=disk.hit)
    postgrest = FakePostgrest()
    async with open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=postgrest.transport()
    ) as http:
        if is_running:
            yield Harness(store, postgrest, http, make_clock=RunningClock)
        else:
            yield Harness(store, postgrest, http)
    disk.is_full = False
    await store.close()


@pytest.fixture
async def harness(store_url: str, disk: Disk) -> AsyncIterator[Harness]:
    async with open_harness(store_url, disk, is_running=False) as harness:
        yield harness


@pytest.fixture
async def running_harness(store_url: str, disk: Disk) -> AsyncIterator[Harness]:
    async with open_harness(store_url, disk, is_running=True) as harness:
        yield harness


async def receive_both(harness: Harness, count: int) -> tuple[list[Event], list[Event]]:
    """Receive `count` revocations and as many grants."""
    revocations = [World().membership("deleted") for _ in range(count)]
    grants = [World().membership("created") for _ in range(count)]
    for number in range(0, count, 250):
        await harness.receive(*grants[number : number + 250])
        await harness.receive(*revocations[number : number + 250])
    return revocations, grants


def times_sent(harness: Harness, event: Event) -> int:
    return sum(map(holds(event), harness.postgrest.writes))


async def test_full_disk_applies_each_pending_revocation_once_and_no_grant(
    harness: Harness, disk: Disk
) -> None:
    revocations, grants = await receive_both(harness, 3 * REQUEST_ENTITIES)
    disk.is_full = True
    for _ in range(30):
        await harness.drain()
        harness.advance(1)
    assert sum(map(count_rows, harness.postgrest.writes)) == len(revocations)
    assert {times_sent(harness, revocation) for revocation in revocations[::100]} == {1}
    health = await harness.report_health()
    assert health.dispatcher.status is HealthStatus.DEGRADED
    assert "only revocations" in (health.dispatcher.reason or "")
    disk.is_full = False
    harness.advance(1)
    await harness.drain()
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 0
    assert {times_sent(harness, event) for event in (*revocations, *grants)[::100]} == {1}
    assert (await harness.report_health()).dispatcher.status is HealthStatus.OK


async def test_full_disk_logs_begin_and_end_once_without_a_traceback(
    harness: Harness, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await receive_both(harness, 5)
    disk.is_full = True
    for _ in range(30):
        await harness.drain()
        harness.advance(1)
    disk.is_full = False
    await harness.drain()
    told = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert [r.getMessage() for r in told if r.name == "app.relay.pending_queue"] == [
        "only revocations are dispatched: the store is unavailable; retrying",
        "the store is available again",
    ]
    (failure, recovery) = [r.getMessage() for r in told if r.name == "app.store.group_commit"]
    assert failure.startswith("the store cannot commit")
    assert recovery == "the store commits again"
    assert all(record.exc_info is None for record in caplog.records)


async def test_full_disk_is_retried_once_a_second(harness: Harness, disk: Disk) -> None:
    await receive_both(harness, 5)
    tries = 0

    def hit(point: Failpoint) -> None:
        nonlocal tries
        tries += point is Failpoint.BEFORE_COMMIT
        Disk.hit(disk, point)

    disk.is_full = True
    disk.hit = hit  # type: ignore[method-assign]
    await harness.store.close()
    harness.store = await Store.open(disk.url, hit=hit)
    harness.dispatcher = harness.start_dispatcher()
    for _ in range(100):
        await harness.drain()
        harness.advance(0.1)
    # A failed commit may be retried on another connection.
    assert 5 <= tries <= 2 * 11


async def test_full_disk_retries_a_failing_revocation(harness: Harness, disk: Disk) -> None:
    revocations, _ = await receive_both(harness, 5)
    locked = revocations[2]
    unlock = harness.postgrest.fail_row(picks(locked), "55P03")
    disk.is_full = True
    for _ in range(10):
        await harness.drain()
        harness.advance(1)
    assert 5 <= times_sent(harness, locked) <= 20
    assert {times_sent(harness, other) for other in revocations if other is not locked} == {1}
    unlock()
    harness.advance(5)
    await harness.drain()
    sent = times_sent(harness, locked)
    for _ in range(10):
        await harness.drain()
        harness.advance(1)
    assert times_sent(harness, locked) == sent, "it was applied"
    disk.is_full = False
    harness.advance(1)
    await harness.drain()
    assert set(await harness.statuses_of(*revocations)) == {EventStatus.APPLIED}


async def test_full_disk_applies_revocations_beside_a_failing_one(
    harness: Harness, disk: Disk
) -> None:
    revocations, _ = await receive_both(harness, 100)
    bad = revocations[42]
    harness.postgrest.respond_with(403, b"<html>", of=holds(bad))
    disk.is_full = True
    for _ in range(5):
        await harness.drain()
        harness.advance(1)
    applied = {
        event.key
        for event in revocations
        if any(holds(event)(write) and not holds(bad)(write) for write in harness.postgrest.writes)
    }
    assert len(applied) == 99
    disk.is_full = False
    harness.postgrest.heal()
    harness.advance(61)
    await harness.drain()
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 0


async def test_full_disk_while_dispatching_causes_no_crash_and_heals(
    running_harness: Harness, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    harness = running_harness
    revocations, grants = await receive_both(harness, 20)
    disk.is_full = True
    async with harness.running():
        await harness.postgrest.wait_for_requests(2)
        # Slow reads, while the dispatcher tries to record.
        for _ in range(100):
            await harness.store.read(backlog_queries.measure_backlog, NOW)
        assert harness.dispatcher.status.unrecorded == 20
        disk.is_full = False
        await harness.wait_until_applied(grants[-1])
    assert set(await harness.statuses_of(*revocations)) == {EventStatus.APPLIED}
    assert harness.dispatcher.status.crash is None
    assert "Traceback" not in caplog.text
    assert len(harness.postgrest.writes) == 2


async def test_full_disk_at_a_stop_leaves_applied_entities_pending_for_the_next_start(
    harness: Harness, disk: Disk
) -> None:
    revocations, _ = await receive_both(harness, 5)
    gate = harness.postgrest.hang(of=is_write)
    async with harness.running() as task:
        await harness.postgrest.wait_for_hanging()
        disk.is_full = True
        harness.dispatcher.stop()
        gate.set()
        await task
    assert set(await harness.statuses_of(*revocations)) == {EventStatus.PENDING}
    disk.is_full = False
    harness.dispatcher = harness.start_dispatcher()
    await harness.drain()
    assert set(await harness.statuses_of(*revocations)) == {EventStatus.APPLIED}


@contextmanager
def close_database(server: PostgresServer, url: str) -> Iterator[None]:
    """Refuse all connections to a database during the block."""
    name = url.rpartition("/")[2]
    with psycopg.connect(server.url, autocommit=True) as admin:
        # The only limit that applies to a superuser.
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_database_unreachable_is_logged_each_time_and_causes_no_crash(
    postgres: PostgresServer, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="app.relay.pending_queue")
    lost = "the store is unavailable"
    found = "the store is available again"
    url = create_postgres_store(postgres)
    async with open_harness(url, disk, is_running=True) as harness, harness.running():
        await harness.postgrest.wait_for_requests(2)
        for times in (1, 2):
            with close_database(postgres, url):
                while caplog.text.count(lost) < times:
                    harness.dispatcher.wake()
                    await harness.report_health()
            while caplog.text.count(found) < times:
                harness.dispatcher.wake()
                await harness.report_health()
        await harness.receive(event := World().membership("deleted"))
        harness.dispatcher.wake()
        await harness.wait_until_applied(event)
        assert harness.dispatcher.status.crash is None
        assert "Traceback" not in caplog.text
