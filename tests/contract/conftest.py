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
    """Give it inside a transaction that is rolled back: each test finds it empty."""
    _shared_database.run_script("begin")
    try:
        yield _shared_database
    finally:
        _shared_database.run_script("rollback")
