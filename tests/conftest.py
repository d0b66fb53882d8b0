"""What all tests share."""

import gc
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from app.settings import Settings
from tests.api.relay_harness import RelayStarter, RunningRelay
from tests.examples import EXAMPLES
from tests.fake_postgrest import FakePostgrest

pytest_plugins = ["tests.postgres", "tests.local", "tests.stores"]  # the others import the first

# In the background, a shell has its commands ignore SIGINT and SIGQUIT, and processes inherit that.
# With a handler or the default here, they start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A busy machine is no defect; a failure on another machine should be one line to repeat.
settings.register_profile("relay", deadline=None, print_blob=True, max_examples=max(EXAMPLES, 100))
settings.load_profile("relay")


# Importing and collecting leave no garbage: to look for it takes a quarter of their time.
gc.disable()


def pytest_collection_finish() -> None:
    """Exempt the collected tests from garbage collection, and begin it."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def postgrest() -> FakePostgrest:
    return FakePostgrest()


@pytest.fixture
def starter(
    store_file: Path, postgrest: FakePostgrest, monkeypatch: pytest.MonkeyPatch
) -> RelayStarter:
    """Start relays with settings that the environment has no part in."""
    for name in (*Settings.model_fields, "supabase_secret_key"):
        monkeypatch.delenv(name.upper(), raising=False)
    return RelayStarter(store_file.parent, postgrest)


@pytest.fixture
async def relay(starter: RelayStarter) -> AsyncIterator[RunningRelay]:
    """A started relay with all that a deployment with operators has set."""
    async with starter.start() as running:
        yield running
