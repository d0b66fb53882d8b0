"""A dispatcher on a store of either kind, and projects as hosted Supabase has them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fake_postgrest import FakePostgrest
from tests.postgres import PostgresServer
from tests.relay.bench import Bench, run_bench
from tests.relay.hosted import HostedServer


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    """A dispatcher before a Supabase with foreign keys."""
    async with run_bench(store_url, FakePostgrest(has_foreign_keys=True)) as running:
        yield running


@pytest.fixture(scope="session")
def hosted(postgres: PostgresServer) -> Iterator[HostedServer]:
    """For what the local Supabase cannot show."""
    server = HostedServer(postgres)
    yield server
    server.close()
