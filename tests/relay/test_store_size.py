"""The size of a store that cannot be read."""

import asyncio
import time
from pathlib import Path

import psycopg
import pytest

from app.relay.store_size import StoreSizeReader
from app.store.store import Store


async def test_size_of_a_store_that_does_not_respond_in_time_is_left_out(
    postgres_store_url: str,
) -> None:
    store = await Store.open(postgres_store_url)
    reader = StoreSizeReader(store)
    with psycopg.connect(postgres_store_url) as other:
        other.execute("LOCK TABLE entities IN ACCESS EXCLUSIVE MODE")
        before = time.monotonic()
        assert await reader.read() == {}
        assert time.monotonic() - before < 3
    assert min((await reader.read()).values()) > 0
    await store.close()


async def test_size_of_a_file_that_is_gone_is_left_out(
    sqlite_store: Store, store_file: Path
) -> None:
    reader = StoreSizeReader(sqlite_store)
    assert min((await reader.read()).values()) >= 0
    moved = await asyncio.to_thread(store_file.rename, store_file.with_suffix(".moved"))
    assert await reader.read() == {}
    await asyncio.to_thread(moved.rename, store_file)
    assert await reader.read()


async def test_size_that_fails_unexpectedly_is_logged_and_left_out(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    # The pool rejects queries, as no other part of the store does.
    sqlite_store.search.close()
    assert await StoreSizeReader(sqlite_store).read() == {}
    assert "the size of the store cannot be measured" in caplog.text
