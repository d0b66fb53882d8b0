"""A relay before a faulty but real Supabase."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.demo.local_supabase import LocalSupabase
from app.supabase.client import open_http_client
from tests.faults.harness import Harness
from tests.faults.proxy import FaultProxy, run_fault_proxy

HISTORIES_RUN = "histories"
"""The test property that counts the histories tried, for the summary."""


@pytest.fixture
async def proxy(local_supabase: LocalSupabase) -> AsyncIterator[FaultProxy]:
    async with run_fault_proxy(local_supabase.url) as running:
        yield running


@pytest.fixture
async def http(
    proxy: FaultProxy, local_supabase: LocalSupabase
) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"apikey": local_supabase.secret_key}
    # Short, for requests that hang; a busy machine may need longer for one that does not, so tests
    # that a timeout would fail dispatch again later (`settle`).
    async with open_http_client(proxy.url, headers, timeout_seconds=1) as client:
        yield client


@pytest.fixture
async def harness(store_file: Path, http: httpx.AsyncClient) -> AsyncIterator[Harness]:
    opened = await Harness.open(f"sqlite:///{store_file}", http)
    yield opened
    await opened.close()


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    count = sum(
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, value in report.user_properties
        if name == HISTORIES_RUN and isinstance(value, int)
    )
    if count:
        terminalreporter.write_line(
            f"{count:,} histories tried for convergence; more: make converge HISTORIES=20000"
        )
