"""The write-ahead log is copied back while events arrive, and restarts."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from app.domain.degradation import REMINDER_SECONDS
from app.domain.instants import Instant
from app.store.engine import open_engine
from app.store.store import Store
from app.store.store_url import read_store_url
from app.store.wal_checkpointer import CHANGED_ROWS, WalCheckpointer
from tests.auth.issuer import Clock
from tests.histories import NOW, World
from tests.server.raw_http import await_that


def count_copied(store_path: Path) -> int:
    """Count the rows that the database holds alone, without its log."""
    alone = store_path.with_name("alone.db")
    alone.write_bytes(store_path.read_bytes())
    with closing(sqlite3.connect(alone)) as connection, suppress(sqlite3.DatabaseError):
        return int(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0])
    # Half copied.
    return 0


async def test_log_of_a_store_is_copied_while_it_is_open(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    # Each changes a row of events and one of entities.
    events = [World().trip("created", at=1) for _ in range(CHANGED_ROWS // 2)]
    await store.store_events(events, Instant(NOW))
    await asyncio.to_thread(await_that, lambda: count_copied(store_path) == len(events))
    await store.close()


async def test_log_of_a_store_under_constant_writes_is_bounded(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    remaining = [World().trip("created", at=1) for _ in range(5 * CHANGED_ROWS)]

    async def write_on() -> None:
        while remaining:
            events = [remaining.pop() for _ in range(min(50, len(remaining)))]
            await store.store_events(events, Instant(NOW))

    await asyncio.gather(*(write_on() for _ in range(4)))
    size = store_path.with_name(f"{store_path.name}-wal").stat().st_size
    await store.close()
    # Without a restart, it would hold more than a page for each event.
    assert size < 4 * CHANGED_ROWS * 4096


def test_log_that_cannot_be_copied_is_reported_and_delays_no_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "relay.db"
    engine = open_engine(read_store_url(f"sqlite:///{path}"))
    broken = open_engine(read_store_url(f"sqlite:///{tmp_path}/missing/relay.db"))
    clock = Clock()
    checkpointer = WalCheckpointer(broken, monotonic=clock)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        for _ in range(2):
            connection.execute(
                text("INSERT INTO numbers VALUES (:n)"), [{"n": n} for n in range(CHANGED_ROWS)]
            )
            checkpointer.note_commit(connection)
            await_that(lambda: "could not be copied" in caplog.text)
            caplog.clear()
            clock.advance(REMINDER_SECONDS)
    checkpointer.close()
    engine.dispose()
    broken.dispose()
