"""Real stores for tests: on a real file, and on a real PostgreSQL.

Migrating a store for each test would take most of the time of the tests that use one; so each
process migrates one store of either kind, and tests work on copies of it.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from app.store.engine import open_engine
from app.store.schema_upgrade import upgrade_store
from app.store.store import Store
from app.store.store_url import read_store_url
from tests.postgres import PostgresServer

DATABASES: Final = ("sqlite", "postgresql")


@cache
def _migrate_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "relay.db"
        upgrade_store(f"sqlite:///{file}")
        return file.read_bytes()


def create_postgres_store(postgres: PostgresServer) -> str:
    """Create a migrated store without events; return its URL."""
    return postgres.create_database(template=_migrate_postgres(postgres))


@cache
def _migrate_postgres(postgres: PostgresServer) -> str:
    url = postgres.create_database()
    upgrade_store(url)
    return url.rpartition("/")[2]


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def store_file(store_path: Path) -> Path:
    """Create a migrated store without events."""
    store_path.touch(0o600)
    store_path.write_bytes(_migrate_sqlite())
    return store_path


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Create a database without a store, for one test."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def postgres_store_url(postgres: PostgresServer) -> Iterator[str]:
    """Create a migrated store without events on PostgreSQL, for one test."""
    url = create_postgres_store(postgres)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Name a database without a store; PostgreSQL starts only for tests that use it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest) -> str:
    """Create a migrated store without events; PostgreSQL starts only for tests that use it."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('store_file')}"
    return str(request.getfixturevalue("postgres_store_url"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(store_url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(store_file: Path) -> AsyncIterator[Store]:
    """Open one on a file, for what only a file has."""
    opened = await Store.open(f"sqlite:///{store_file}")
    yield opened
    await opened.close()


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """Open the store's database beside the store."""
    opened = open_engine(read_store_url(store_url))
    yield opened
    opened.dispose()
