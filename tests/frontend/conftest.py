"""The app beside a running relay, and the same with a Realtime."""

from collections.abc import Iterator

import pytest

from app.demo.local_supabase import LocalSupabase
from tests.e2e.conftest import relay as relay  # the fixture: use ids of your own
from tests.frontend.app import App, run_app
from tests.frontend.stack import RealtimeStack, run_stack
from tests.postgres import PostgresServer


@pytest.fixture(scope="module")
def app(local_supabase: LocalSupabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with run_app(local_supabase, tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture(scope="package")
def stack(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealtimeStack]:
    """Run a relay, a Supabase over PostgreSQL, a Realtime and the app: use ids of your own."""
    with run_stack(postgres, tmp_path_factory.mktemp("stack")) as stack:
        yield stack
