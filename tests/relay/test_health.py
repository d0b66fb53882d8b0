"""The health report while the store responds late, and with clocks that step."""

import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from app.domain.clocks import Clocks
from app.relay.health import HealthReporter, HealthStatus
from tests.auth.issuer import Clock
from tests.fake_postgrest import FakePostgrest
from tests.histories import World
from tests.relay.harness import Harness, run_harness


@pytest.fixture
def store_url(postgres_store_url: str) -> str:
    return postgres_store_url


@pytest.fixture
async def harness(store_url: str) -> AsyncIterator[Harness]:
    async with run_harness(store_url, FakePostgrest()) as harness:
        yield harness


async def test_report_while_the_backlog_cannot_be_read_in_time_is_degraded(
    harness: Harness, store_url: str
) -> None:
    """Events are still accepted, so the store is not down."""
    await harness.receive(World().trip("created"))
    reporter = HealthReporter(harness.store, harness.dispatcher, Clocks(harness.clock, Clock()))
    with psycopg.connect(store_url) as other:
        other.execute("LOCK TABLE entities IN ACCESS EXCLUSIVE MODE")
        before = time.monotonic()
        health = await reporter.report()
        assert time.monotonic() - before < 3
    assert health.store.status is HealthStatus.DEGRADED
    assert health.store.reason == "reading the store takes longer than 2 s"
    assert health.status is HealthStatus.DEGRADED
    assert health.backlog is None
    healed = await reporter.report()
    assert healed.store.status is HealthStatus.OK
    assert healed.backlog is not None


async def test_report_after_the_clock_was_set_back_shows_true_ages(harness: Harness) -> None:
    monotonic = Clock()
    reporter = HealthReporter(harness.store, harness.dispatcher, Clocks(harness.clock, monotonic))
    await harness.receive(World().membership("deleted"))
    # Set back by an hour after the event.
    harness.clock.advance(-3600)
    await reporter.report()
    monotonic.advance(70)
    harness.clock.advance(70)
    health = await reporter.report()
    assert (health.oldest_pending_seconds, health.oldest_removal_seconds) == (70.0, 70.0)
