"""Real stores for tests: on a real file, and on a real PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from app.store.engine import open_engine, read_store_url
from app.store.store import Store
from tests.postgres import PostgresServer

DATABASES: Final = ("sqlite", "postgresql")


def make_store_url(database: str, file: Path, request: pytest.FixtureRequest) -> str:
    """Name an empty store of one of `DATABASES`; PostgreSQL is started only where it is asked for.

    Args:
        database: which keeps it.
        file: where SQLite does.
        request: of the fixture or test that it is for.
    """
    if database == "sqlite":
        return f"sqlite:///{file}"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return postgres.create_database()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest, store_path: Path) -> str:
    """Name an empty store."""
    return make_store_url(request.param, store_path, request)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(store_url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_store(store_path: Path) -> AsyncIterator[Store]:
    """Open one on a file, for what only a file has."""
    opened = await Store.open(f"sqlite:///{store_path}")
    yield opened
    await opened.close()


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """Look into the store by connections of one's own."""
    opened = open_engine(read_store_url(store_url))
    yield opened
    opened.dispose()
