"""A PostgreSQL for the tests that need SQL."""

from collections.abc import Iterator

import pytest

from tests.contract.database import Database, run_database


@pytest.fixture(scope="session")
def _shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with run_database(tmp_path_factory.mktemp("database")) as database:
        yield database


@pytest.fixture
def database(_shared_database: Database) -> Iterator[Database]:
    """Give it empty."""
    with _shared_database.rolled_back() as database:
        yield database
