"""A real store on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.store import Store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
async def store(store_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{store_path}")
    yield opened
    await opened.close()
