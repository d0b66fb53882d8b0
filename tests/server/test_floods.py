"""Floods without authentication: memory stays bounded, and authentic senders get responses.

The relay is a process of its own. Under every flood one sender keeps a connection alive and another
makes a new one for each event, and each event has to be answered in time. `make floods` shows the
figures.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.flooded import FloodedRelay, make_event, run_relay, watch
from tests.server.strangers import AtEnd, Pieces, Strangers

# Before connections had bounds, some of these floods took 500 to 1,600 MiB.
GROWTH_MIB: Final = 200
SECONDS: Final = 2.5

_GET: Final = b"GET %b HTTP/1.1\r\nHost: relay\r\n\r\n"
_POST: Final = b"POST %b HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
_EVENT: Final = _POST % b"/webhooks"
_BATCH: Final = _POST % b"/webhooks/batch"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
_UNSIGNED: Final = _EVENT + b"Content-Length: 2\r\n\r\n{}"
_MIB: Final = 1024 * 1024

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads Linux's /proc"
)


class FloodRunner:
    """Floods relays, and holds each to what is promised under every flood.

    Args:
        show: prints a line.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show

    def flood(
        self, relay: FloodedRelay, make_pieces: Callable[[], Pieces], count: int, **options: Any
    ) -> Strangers:
        """Flood a relay by so many connections, with `options` of `Strangers`."""
        with watch(relay) as flood, Strangers(relay.port, count, make_pieces, **options) as crowd:
            crowd.run(SECONDS)
        answers = ", ".join(f"{count} {status}" for status, count in crowd.statuses.items())
        self._show(f"{flood.describe()}; {crowd.opened} connections, answers: {answers or 0}")
        assert flood.kept_alive.failures == []
        assert flood.fresh.failures == []
        assert flood.growth_mib < GROWTH_MIB
        assert httpx.get(f"{relay.url}/health/live", trust_env=False).is_success
        assert "ERROR" not in relay.log
        assert "Traceback" not in relay.log
        return crowd


@pytest.fixture
def runner(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> FloodRunner:
    def show(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: {line}\n")

    return FloodRunner(show)


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FloodedRelay]:
    """One relay for all floods that need no settings: what one leaves in memory is the next's."""
    with run_relay(tmp_path_factory.mktemp("flooded")) as relay:
        yield relay


def once(*pieces: bytes) -> Callable[[], Pieces]:
    """Have every connection send this."""
    return lambda: iter(pieces)


def endless(piece: bytes, *, after: bytes = b"") -> Callable[[], Pieces]:
    """Have every connection send one piece again and again, after another."""
    return lambda: chain([after] if after else [], repeat(piece))


def mixed(*makers: Callable[[], Pieces]) -> Callable[[], Pieces]:
    """Have connections send different things, in turn."""
    turns = cycle(makers)
    return lambda: next(turns)()


def read_evictions(relay: FloodedRelay) -> dict[str, float]:
    """Read how many connections were evicted, by reason."""
    metrics = httpx.get(f"{relay.url}/metrics", trust_env=False).text
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "relay_connections_evicted_total"
    }


# --- heads ---


@pytest.mark.parametrize("count", [1, 50])
def test_head_of_fifty_megabytes_is_rejected_early(
    runner: FloodRunner, relay: FloodedRelay, count: int
) -> None:
    fields = b"".join(b"x-%d: %b\r\n" % (n, b"a" * 1000) for n in range(1000))
    pieces = once(b"GET / HTTP/1.1\r\n", *[fields] * 52)
    crowd = runner.flood(relay, pieces, count)
    assert (crowd.statuses, crowd.ended) == ({431: count}, count)


def test_heads_that_never_end_take_little(runner: FloodRunner, relay: FloodedRelay) -> None:
    pieces = mixed(
        endless(b"a", after=b"GET /"),
        endless(b"a", after=_EVENT + b"x: "),
        endless(b"a", after=_EVENT + b"x: " + b"a" * 30_000),
    )
    crowd = runner.flood(relay, pieces, 500, pace_seconds=0.2)
    assert (crowd.opened, crowd.statuses) == (500, {})


def test_empty_lines_without_end_are_rejected(runner: FloodRunner, relay: FloodedRelay) -> None:
    crowd = runner.flood(relay, endless(b"\r\n" * 30_000), 50, returns=True)
    assert set(crowd.statuses) == {431}


# --- answers that are not read ---


@pytest.mark.parametrize("count", [1, 20, 1000])
def test_pipeline_with_unread_responses_is_not_read(
    runner: FloodRunner, relay: FloodedRelay, count: int
) -> None:
    pieces = endless(_GET % b"/health/live" * 300_000)
    runner.flood(relay, pieces, count, reads=False)


def test_signed_pipeline_with_unread_responses_is_not_read(
    runner: FloodRunner,
    relay: FloodedRelay,
) -> None:
    events = b"".join(_write_event(relay.secret) for _ in range(20_000))
    runner.flood(relay, once(events), 1, reads=False)


def _write_event(secret: str) -> bytes:
    _, body, fields = make_event(secret)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    length = f"Host: relay\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"POST /webhooks HTTP/1.1\r\n{lines}{length}".encode() + body


# --- bodies ---


@pytest.mark.parametrize("at_end", [AtEnd.HALF_CLOSE, AtEnd.RESET])
def test_bodies_that_never_end_take_nothing_from_senders(
    runner: FloodRunner, relay: FloodedRelay, at_end: AtEnd
) -> None:
    pieces = once(_EVENT + b"Content-Length: 100\r\n\r\n", b"{")
    runner.flood(relay, pieces, 1000, at_end=at_end, returns=True)


def test_large_unfinished_bodies_make_room_for_each_other(
    runner: FloodRunner, relay: FloodedRelay
) -> None:
    length = b"Content-Length: %d\r\n\r\n" % _MIB
    rest = b"a" * (_MIB - 1)
    pieces = mixed(once(_BATCH + length, rest), once(_BATCH + _CHUNKED + b"%x\r\n" % _MIB, rest))
    runner.flood(relay, pieces, 200)
    assert read_evictions(relay)["memory"] > 100
    assert "unfinished requests and unread responses" in relay.log


def test_chunks_of_nearly_nothing_are_rejected_early(
    runner: FloodRunner, relay: FloodedRelay
) -> None:
    start = _BATCH + _CHUNKED
    pieces = mixed(
        endless(b"1\r\nx\r\n" * 10_000, after=start),
        endless(b"1;%b\r\nx\r\n" % (b"x" * 240) * 1000, after=start),
        endless(b"x: y\r\n" * 10_000, after=start + b"0\r\n"),
        endless(b"extension" * 10_000, after=start + b"1;"),
    )
    crowd = runner.flood(relay, pieces, 100)
    assert (crowd.statuses, crowd.ended) == ({400: 100}, 100)


def test_bodies_that_are_awaited_for_nothing_take_nothing(
    runner: FloodRunner, relay: FloodedRelay
) -> None:
    pieces = once(_EVENT + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
    crowd = runner.flood(relay, pieces, 1000)
    assert crowd.statuses == {100: 1000}


# --- whole requests ---


@pytest.mark.parametrize(
    ("requests", "status", "count"),
    [
        pytest.param(_UNSIGNED, 401, 20, id="unsigned"),
        pytest.param(_UNSIGNED, 401, 1000, id="unsigned-by-many"),
        pytest.param(b"junk\r\n\r\n", 400, 20, id="junk"),
        pytest.param(b"GET /health/live HTTP/1.0\r\n\r\n", 200, 20, id="HTTP/1.0"),
        pytest.param(_GET % b"/health" + _GET % b"/metrics", 200, 20, id="health-and-metrics"),
    ],
)
def test_requests_as_fast_as_possible_leave_senders_their_turn(
    runner: FloodRunner, relay: FloodedRelay, requests: bytes, status: int, count: int
) -> None:
    crowd = runner.flood(relay, endless(requests * 100), count, returns=True)
    assert set(crowd.statuses) == {status}


# --- connections ---


def test_connections_beyond_the_limit_evict_unauthenticated_ones(
    runner: FloodRunner, tmp_path: Path
) -> None:
    with run_relay(tmp_path, MAX_CONNECTIONS="200") as relay:
        crowd = runner.flood(relay, once(), 1000)
        assert crowd.ended >= 800
        assert read_evictions(relay)["connections"] >= 800
        assert (
            "WARNING app.server.connections: MAX_CONNECTIONS reached (200 connections)" in relay.log
        )


def test_file_descriptors_that_are_short_are_logged_and_suffice(
    runner: FloodRunner, tmp_path: Path
) -> None:
    with run_relay(tmp_path, "sh", "-c", 'ulimit -n 256; exec "$@"', "sh") as relay:
        runner.flood(relay, once(), 1000, returns=True)
        assert "WARNING app.server.connections: MAX_CONNECTIONS=2000 needs 2128" in relay.log
        assert "the limit is 256; serving 128 connections" in relay.log
