"""A relay before a faulty but real Supabase."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.cli.local_supabase import LocalSupabase
from app.supabase.client import open_http_client
from tests.faults.bench import Bench
from tests.faults.proxy import FaultProxy, run_fault_proxy

HISTORIES_RUN = pytest.StashKey[int]()


@pytest.fixture
async def proxy(local_supabase: LocalSupabase) -> AsyncIterator[FaultProxy]:
    async with run_fault_proxy(local_supabase.url) as running:
        yield running


@pytest.fixture
async def http(
    proxy: FaultProxy, local_supabase: LocalSupabase
) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"apikey": local_supabase.secret_key}
    async with open_http_client(proxy.url, headers, timeout_seconds=1) as client:
        yield client


@pytest.fixture
async def bench(tmp_path: Path, http: httpx.AsyncClient) -> AsyncIterator[Bench]:
    opened = await Bench.open(f"sqlite:///{tmp_path}/relay.db", http)
    yield opened
    await opened.close()


@pytest.hookimpl
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    count = config.stash.get(HISTORIES_RUN, 0)
    if count:
        terminalreporter.write_line(
            f"{count:,} histories tried for convergence; more: make converge HISTORIES=20000"
        )
