"""Fixtures: served relays for tests over raw connections."""

import logging
from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.api.relay_harness import RelayStarter
from tests.fake_postgrest import FakePostgrest
from tests.server.served import Paths, Served, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One relay for the tests of a file that do it no harm: use ids of your own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*Settings.model_fields, "supabase_secret_key"):
            patch.delenv(name.upper(), raising=False)
        starter = RelayStarter(tmp_path_factory.mktemp("served"), FakePostgrest())
        with serve(starter) as relay:
            yield relay


@pytest.fixture
def paths(served: Served) -> Paths:
    return Paths(served)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold the log of a test to no traceback, but the dispatcher's where the disk is full."""
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        assert record.name != "asyncio", record.getMessage()
        assert record.exc_info is None or record.name == "app.relay.dispatch", record.exc_text
