"""A dispatcher on a store of either kind."""

from collections.abc import AsyncIterator

import pytest

from tests.fake_postgrest import FakePostgrest
from tests.relay.harness import Bench, run_bench


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """A dispatcher with a Supabase that has foreign keys."""
    async with run_bench(store_url, FakePostgrest(has_foreign_keys=True)) as running:
        yield running
