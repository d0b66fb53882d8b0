"""The write-ahead log is copied back while events come in, and begins anew."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from app.domain.instants import Instant
from app.store import checkpointing
from app.store.store import Store
from tests.histories import NOW, World

CHANGES = 40
_ROUNDS = 30


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(checkpointing, "CHANGES", CHANGES)
    yield
    assert "store-checkpointer" not in {thread.name for thread in threading.enumerate()}


async def store_trips(store: Store, count: int = CHANGES) -> None:
    """Store new trips in one commit; each changes a row of events and one of entities."""
    await store.store_events([World().trip("created", at=1) for _ in range(count)], Instant(NOW))


async def await_copied(store_path: Path, trips: int) -> None:
    """Wait until the database alone, without its log, holds so many trips."""
    async with asyncio.timeout(30):
        while True:
            if count_copied(store_path) >= trips:
                return
            await asyncio.sleep(0.01)


def count_copied(store_path: Path) -> int:
    alone = store_path.with_name("alone.db")
    alone.write_bytes(store_path.read_bytes())
    with closing(sqlite3.connect(alone)) as connection, suppress(sqlite3.DatabaseError):
        return int(connection.execute("SELECT COUNT(*) FROM entities").fetchone()[0])
    # Half copied.
    return 0


def count_logs(store_path: Path) -> int:
    """Give how often the log has begun anew (https://www.sqlite.org/fileformat2.html#walformat)."""
    header = store_path.with_name(f"{store_path.name}-wal").read_bytes()[:32]
    return int.from_bytes(header[12:16])


async def test_log_that_is_long_is_copied(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    await store_trips(store)
    await await_copied(store_path, CHANGES)
    await store.close()


@pytest.mark.parametrize("is_behind", [False, True])
async def test_log_that_is_long_begins_anew_while_events_come_in(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_behind: bool
) -> None:
    """Also where, whenever something was copied, there is more."""
    if is_behind:
        monkeypatch.setattr(checkpointing.Checkpointer, "_copy", lambda _: None)
    store = await Store.open(f"sqlite:///{store_path}")
    await store_trips(store)
    before = count_logs(store_path)

    async def keep_storing() -> None:
        while count_logs(store_path) < before + 10:
            await store_trips(store, 5)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(keep_storing())
    await store.close()


async def test_log_that_is_read_waits_for_its_reader(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    await store_trips(store)
    await await_copied(store_path, CHANGES)
    with closing(sqlite3.connect(store_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        (before,) = reader.execute("SELECT COUNT(*) FROM events").fetchone()
        for _ in range(_ROUNDS):
            await store_trips(store)
        assert reader.execute("SELECT COUNT(*) FROM events").fetchone() == (before,)
        reader.execute("COMMIT")
    await store_trips(store)
    await await_copied(store_path, (_ROUNDS + 2) * CHANGES)
    await store.close()


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_log_that_cannot_be_copied_holds_nobody_up(
    store_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    is_wrapped: bool,
) -> None:
    """Whether the copying fails or a connection for it."""
    store = await Store.open(f"sqlite:///{store_path}")
    error = sqlite3.OperationalError("disk I/O error")

    def fail(_: object) -> None:
        raise DBAPIError("", None, error) if is_wrapped else error

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(checkpointing.Checkpointer, "_copy", fail)
        async with asyncio.timeout(30):
            while "could not be copied: disk I/O error" not in caplog.text:
                await store_trips(store)
    assert store.failure is None
    stored = store.events_stored
    await store_trips(store)
    await await_copied(store_path, stored + CHANGES)
    await store.close()
