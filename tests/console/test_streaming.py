"""The stream of the view Now, from a relay that is served as `relay serve` does."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from app.console.live import STREAMS
from app.console.session import COOKIE
from tests.api.relay_harness import RelayStarter, RunningRelay
from tests.server.raw_http import await_that, write_request
from tests.server.served import Served, serve


@pytest.fixture
def served(starter: RelayStarter) -> Iterator[Served]:
    with serve(starter) as relay:
        yield relay


@pytest.fixture
def browser(served: Served) -> Iterator[httpx.Client]:
    starter = served.starter
    relay = RunningRelay(
        served.app, httpx.AsyncClient(), starter.clock, starter.postgrest, starter.folder
    )
    token = relay.bear("events:read")["authorization"].split()[1]
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{served.port}",
        headers={"cookie": f"{COOKIE}={token}"},
        limits=limits,
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


def test_stream_sends_the_overview_at_once_and_ends_with_the_token(
    served: Served, browser: httpx.Client
) -> None:
    with browser.stream("GET", "/console/now/stream") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        lines = response.iter_lines()
        assert next(lines).startswith("data: <section")
        served.starter.clock.advance(91)
        assert [*lines][-3:] == ["event: end", "data:", ""]


def test_flood_of_streams_is_bounded_and_takes_nothing_from_webhooks(
    served: Served, browser: httpx.Client
) -> None:
    with ExitStack() as stack:
        for _ in range(STREAMS):
            stream = stack.enter_context(browser.stream("GET", "/console/now/stream"))
            assert stream.status_code == 200
        refused = browser.get("/console/now/stream")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert served.services.in_flight.used == 0
        with served.open() as client:
            assert client.ask(write_request("evt_1")).status == 202
    # The slots of closed streams are free again.
    await_that(lambda: _is_open(browser))


def _is_open(browser: httpx.Client) -> bool:
    with browser.stream("GET", "/console/now/stream") as response:
        return response.status_code == 200
