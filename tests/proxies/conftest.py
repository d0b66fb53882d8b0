"""A relay as `relay serve` serves it, and the proxies before it."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e.conftest import RelayProcess, run_relays
from tests.proxies.configurations import CONFIGURATIONS, GUIDES
from tests.proxies.programs import Configuration, Proxy, find_program, run_proxy
from tests.proxies.wire import Client

UNREACHABLE = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_test"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """Run a relay for a file of tests. It accepts; its Supabase is unreachable."""
    with run_relays(tmp_path_factory.mktemp("relays")) as make:
        yield make(**UNREACHABLE)


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda each: each.name)
def proxy(request: pytest.FixtureRequest, relay: RelayProcess) -> Iterator[Proxy]:
    """Run a proxy before it, in each configuration."""
    with ExitStack() as stack:
        yield start_proxy(stack, request.param, relay.port)


@pytest.fixture(scope="module", params=GUIDES, ids=lambda each: each.name)
def guide_proxy(request: pytest.FixtureRequest, relay: RelayProcess) -> Iterator[Proxy]:
    """Run a proxy before it as docs/guides/deploy.md has it."""
    with ExitStack() as stack:
        yield start_proxy(stack, request.param, relay.port)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    """Connect through the proxy."""
    with Client(proxy.connect) as client:
        yield client


def start_proxy(stack: ExitStack, configuration: Configuration, *relay_ports: int) -> Proxy:
    """Start a proxy that ends with the stack, or skip the test."""
    program = find_program(configuration.program)
    if program is None:
        pytest.skip(f"no {configuration.program} on this machine: apt-get install it")
    return stack.enter_context(run_proxy(program, configuration, *relay_ports))


def read_stored_ids(relay: RelayProcess) -> set[str]:
    """Give the ids of all events in the store, by a connection of one's own."""
    file: Path = relay.folder / "relay.db"
    with closing(sqlite3.connect(file)) as connection:
        return {event_id for (event_id,) in connection.execute("SELECT event_id FROM events")}
