"""The write-ahead log is copied back while events arrive, and restarts."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.domain.instants import Instant
from app.store.driver_cursor import Cursor, open_cursor
from app.store.engine import open_engine
from app.store.store import Store
from app.store.store_url import read_store_url
from app.store.wal_checkpointer import CHANGED_ROWS, WalCheckpointer
from tests.histories import NOW, World
from tests.server.raw_http import await_that

_SOON = 40
"""Changes after which the log is long here."""


@pytest.fixture(autouse=True)
def _leave_no_thread() -> Iterator[None]:
    # Others may have left theirs to be ended with the process.
    before = set(threading.enumerate())
    yield
    begun = set(threading.enumerate()) - before
    assert "store-checkpointer" not in {thread.name for thread in begun}


@pytest.fixture
def engine(store_path: Path) -> Iterator[Engine]:
    opened = open_engine(read_store_url(f"sqlite:///{store_path}"))
    yield opened
    opened.dispose()


@pytest.fixture
def writer(engine: Engine) -> Iterator[Cursor]:
    """Write to a store of one table."""
    with engine.connect() as connection:
        cursor = open_cursor(connection)
        cursor.execute("CREATE TABLE events (number INTEGER PRIMARY KEY)")
        yield cursor


def write(writer: Cursor, count: int) -> None:
    """Write so many rows in one commit."""
    writer.execute("BEGIN IMMEDIATE")
    writer.executemany("INSERT INTO events VALUES (NULL)", [{}] * count)
    writer.execute("COMMIT")


def count_copied(store_path: Path) -> int:
    """Count the rows that the database holds alone, without its log."""
    alone = store_path.with_name("alone.db")
    alone.write_bytes(store_path.read_bytes())
    with closing(sqlite3.connect(alone)) as connection, suppress(sqlite3.DatabaseError):
        return int(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0])
    # Half copied.
    return 0


def count_logs(store_path: Path) -> int:
    """Count the restarts of the log (https://www.sqlite.org/fileformat2.html#walformat)."""
    header = store_path.with_name(f"{store_path.name}-wal").read_bytes()[:32]
    return int.from_bytes(header[12:16])


async def test_log_of_a_store_is_copied_while_it_is_open(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    # Each changes a row of events and one of entities.
    events = [World().trip("created", at=1) for _ in range(CHANGED_ROWS // 2)]
    await store.store_events(events, Instant(NOW))
    await asyncio.to_thread(await_that, lambda: count_copied(store_path) == len(events))
    await store.close()


async def test_log_of_a_store_under_constant_writes_stays_short(
    store_path: Path,
) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    remaining = [World().trip("created", at=1) for _ in range(3 * CHANGED_ROWS)]

    async def write_on() -> None:
        while remaining:
            events = [remaining.pop() for _ in range(min(50, len(remaining)))]
            await store.store_events(events, Instant(NOW))

    await asyncio.gather(*(write_on() for _ in range(4)))
    size = store_path.with_name(f"{store_path.name}-wal").stat().st_size
    await store.close()
    # Without a restart, it would hold a page for each event.
    assert size < 2 * CHANGED_ROWS * 4096


def test_log_is_copied_once_it_is_long(store_path: Path, engine: Engine, writer: Cursor) -> None:
    checkpointer = WalCheckpointer(engine, changed_rows=_SOON)
    write(writer, _SOON - 1)
    checkpointer.request_if_due(writer)
    write(writer, 1)
    assert count_copied(store_path) == 0
    checkpointer.request_if_due(writer)
    await_that(lambda: count_copied(store_path) == _SOON)
    checkpointer.close()


@pytest.mark.parametrize("is_behind", [False, True])
def test_log_restarts_while_it_is_written(
    store_path: Path, engine: Engine, writer: Cursor, *, is_behind: bool
) -> None:
    """Also where the thread, which copies another store, has left it all to the commits."""
    other = open_engine(read_store_url(f"sqlite:///{store_path}.other"))
    checkpointer = WalCheckpointer(other if is_behind else engine, changed_rows=_SOON)
    write(writer, 1)
    before = count_logs(store_path)

    def has_begun_ten_times() -> bool:
        checkpointer.restart_log(writer)
        write(writer, 5)
        checkpointer.request_if_due(writer)
        return count_logs(store_path) >= before + 10

    await_that(has_begun_ten_times)
    checkpointer.close()
    other.dispose()


def test_log_with_a_reader_is_copied_after_the_reader_ends(
    store_path: Path, engine: Engine, writer: Cursor
) -> None:
    checkpointer = WalCheckpointer(engine, changed_rows=_SOON)
    with closing(sqlite3.connect(store_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT COUNT(*) FROM events").fetchone() == (0,)
        for _ in range(30):
            write(writer, _SOON)
            checkpointer.request_if_due(writer)
        assert reader.execute("SELECT COUNT(*) FROM events").fetchone() == (0,)
        assert count_copied(store_path) == 0
        reader.execute("COMMIT")
    write(writer, _SOON)
    checkpointer.request_if_due(writer)
    await_that(lambda: count_copied(store_path) == 31 * _SOON)
    checkpointer.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_log_that_cannot_be_copied_delays_no_commit(
    tmp_path: Path, writer: Cursor, caplog: pytest.LogCaptureFixture, *, is_there: bool
) -> None:
    """Whether the file cannot be opened or cannot be read."""
    folder = tmp_path / "broken"
    if is_there:
        folder.mkdir()
        (folder / "relay.db").write_bytes(b"no database" * 1000)
    broken = open_engine(read_store_url(f"sqlite:///{folder}/relay.db"))
    checkpointer = WalCheckpointer(broken, changed_rows=_SOON)
    for _ in range(2):
        write(writer, _SOON)
        checkpointer.request_if_due(writer)
        await_that(lambda: "could not be copied" in caplog.text)
        caplog.clear()
    assert writer.execute("SELECT COUNT(*) FROM events").fetchone() == (2 * _SOON,)
    checkpointer.close()
    broken.dispose()
