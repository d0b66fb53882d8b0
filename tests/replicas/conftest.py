"""What the tests of replicas share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.replicas.cluster import Cluster, open_cluster, start_all
from tests.stores import create_postgres_store


@pytest.fixture
def cluster(tmp_path: Path, postgres_store_url: str) -> Iterator[Cluster]:
    """Three relays on one database; none is started yet."""
    with open_cluster(tmp_path, postgres_store_url, 3) as opened:
        yield opened


@pytest.fixture(scope="module")
def _of_module(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("replicas")
    with open_cluster(folder, create_postgres_store(postgres), 3) as opened:
        yield opened


@pytest.fixture
def shared(_of_module: Cluster) -> Cluster:
    """The three relays of a file's tests, each of which finds all running and nothing pending."""
    _of_module.supabase.heal()
    start_all(one for one in _of_module.replicas if not one.is_alive)
    _of_module.await_settled()
    return _of_module
