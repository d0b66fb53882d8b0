"""A store that hangs is reported at the first poll, at little cost, until it recovers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.domain.clocks import Clocks
from app.relay.heartbeat import INTERVAL_SECONDS, TIMEOUT_SECONDS, Heartbeat
from app.store.engine import open_engine
from app.store.store import Store
from app.store.store_url import read_store_url
from tests.auth.issuer import Clock
from tests.histories import NOW, World
from tests.stalls import Stall


@pytest.fixture
def stall() -> Iterator[Stall]:
    stall = Stall()
    yield stall
    stall.end()


@pytest.fixture
async def store(store_url: str, stall: Stall) -> AsyncIterator[Store]:
    opened = await Store.open(store_url, hit=stall)
    yield opened
    stall.end()
    await opened.close()


@pytest.fixture
def monotonic() -> Clock:
    return Clock()


@pytest.fixture
def heartbeat(store: Store, monotonic: Clock) -> Heartbeat:
    return Heartbeat(store, Clocks(monotonic=monotonic))


@pytest.fixture
def engine_of_file(store_path: Path) -> Iterator[Engine]:
    opened = open_engine(read_store_url(f"sqlite:///{store_path}"))
    yield opened
    opened.dispose()


async def await_recovery(heartbeat: Heartbeat) -> None:
    async with asyncio.timeout(60):
        while await heartbeat.find_failure() is not None:
            pass


async def test_polls_commit_once_per_interval(
    heartbeat: Heartbeat, stall: Stall, monotonic: Clock, store: Store
) -> None:
    commits = 1 if store.replicas is None else 2  # Also by the path that events take.
    for _ in range(3):
        before = stall.commits
        polls = [heartbeat.find_failure() for _ in range(20)]
        assert await asyncio.gather(*polls) == [None] * 20
        assert stall.commits - before == commits
        monotonic.advance(INTERVAL_SECONDS)


async def test_commit_that_hangs_is_reported_at_the_first_poll_and_recovers(
    heartbeat: Heartbeat,
    stall: Stall,
    monotonic: Clock,
    store: Store,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert await heartbeat.find_failure() is None
    stall.begin()
    monotonic.advance(INTERVAL_SECONDS)
    before = time.monotonic()
    assert await heartbeat.find_failure() == "a commit has been running for 2 s"
    assert time.monotonic() - before < TIMEOUT_SECONDS + 1
    commits = stall.commits
    for _ in range(2):
        monotonic.advance(60)
        found = await asyncio.gather(*(heartbeat.find_failure() for _ in range(20)))
        assert all("a commit has been running for" in str(each) for each in found)
    # No commits have piled up.
    assert stall.commits == commits
    stall.end()
    await await_recovery(heartbeat)
    assert store.commit_seconds == 0
    # PostgreSQL ends the transaction meanwhile, which is another failure.
    told = [
        (each.levelname, each.getMessage())
        for each in caplog.records
        if each.name in {"app.relay.heartbeat", "app.store.group_commit"}
    ]
    stalls = [message for _, message in told if "stalled" in message]
    assert stalls == ["the store is stalled: a commit has been running for 2 s"]
    assert [message for level, message in told if level == "INFO"] == ["the store commits again"]
    assert told[0][0] == "ERROR"


async def test_commit_of_an_event_that_hangs_is_the_reason(
    heartbeat: Heartbeat, stall: Stall, store: Store
) -> None:
    stall.begin()
    storing = asyncio.ensure_future(store.store_events([World().trip("created")], NOW))
    await asyncio.sleep(1.5)
    assert await heartbeat.find_failure() in {
        # On PostgreSQL, events have their own thread; the heartbeat is delayed as well.
        "a commit has been running for 3 s",
        "a commit has been running for 4 s",
    }
    stall.end()
    await storing
    await await_recovery(heartbeat)


async def test_store_that_another_writer_locks_is_down_before_the_lock_times_out(
    sqlite_store: Store, engine_of_file: Engine, monotonic: Clock
) -> None:
    heartbeat = Heartbeat(sqlite_store, Clocks(monotonic=monotonic))
    with engine_of_file.connect() as connection:
        connection.execute(text("UPDATE heartbeat SET beaten_at = 0"))
        connection.execute(text("INSERT INTO purge VALUES (1, 0, 0)"))
        assert await heartbeat.find_failure() == "a commit has been running for 2 s"
        async with asyncio.timeout(60):
            while "database is locked" not in str(await heartbeat.find_failure()):
                pass
    monotonic.advance(INTERVAL_SECONDS)
    assert await heartbeat.find_failure() is None
