"""Dispatchers on a store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_postgrest import FakePostgrest
from tests.relay.harness import Harness, run_harness


@pytest.fixture
async def harness(store_url: str) -> AsyncIterator[Harness]:
    """A dispatcher on either database, with a Supabase that has foreign keys."""
    async with run_harness(store_url, FakePostgrest(has_foreign_keys=True)) as running:
        yield running


@pytest.fixture
async def sqlite_harness(store_file: Path) -> AsyncIterator[Harness]:
    """The same on SQLite only, for long tests of what does not depend on the database."""
    postgrest = FakePostgrest(has_foreign_keys=True)
    async with run_harness(f"sqlite:///{store_file}", postgrest) as running:
        yield running
