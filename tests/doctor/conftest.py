"""Projects as hosted Supabase has them."""

from collections.abc import Iterator

import pytest

from tests.doctor.hosted import HostedServer
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def hosted(postgres: PostgresServer) -> Iterator[HostedServer]:
    """For what the local Supabase cannot show."""
    server = HostedServer(postgres)
    yield server
    server.close()
