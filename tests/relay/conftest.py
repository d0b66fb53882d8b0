"""Projects as hosted Supabase has them, for what the local one cannot show."""

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer
from tests.relay.hosted import HostedServer


@pytest.fixture(scope="session")
def hosted(postgres: PostgresServer) -> Iterator[HostedServer]:
    server = HostedServer(postgres)
    yield server
    server.close()
