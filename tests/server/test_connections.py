"""Limits of connections before authentication: time, number and memory."""

import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.server.connections import EvictionLog, bound_connections
from app.server.limits import Limits
from tests.api.relay_harness import RelayStarter
from tests.auth.issuer import Clock
from tests.server.raw_http import Answer, RawConnection, await_that, cut, write_request
from tests.server.served import Served, serve

pytestmark = pytest.mark.usefixtures("quiet")

LIVE = b"GET /health/live HTTP/1.1\r\nHost: relay.test\r\n\r\n"


def assert_refused(client: RawConnection, answer: Answer, status: int, code: str) -> None:
    """Check that this problem was the last answer of its connection."""
    assert (answer.status, answer.document["code"]) == (status, code)
    assert answer.fields[b"connection"] == b"close"
    assert answer.fields[b"content-type"] == b"application/problem+json"
    assert client.is_ended()


def read_metric(served: Served, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(served.read_metrics()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    raise AssertionError(f"{name} is not there")


@contextmanager
def open_many(relay: Served, count: int) -> Iterator[list[RawConnection]]:
    with ExitStack() as stack:
        yield [stack.enter_context(relay.open()) for _ in range(count)]


def fill_answers(client: RawConnection) -> None:
    """Have the relay answer, and read nothing, until it notices."""
    protocol = client.protocol
    protocol.shrink_write_buffers(4096)
    while not protocol.is_blocked:
        client.send_while_open(LIVE * 20)
        await_that(lambda: protocol.is_blocked or protocol.is_idle)


def is_cut(client: RawConnection) -> bool:
    """Tell whether the relay has closed the connection, with or without a reset."""
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True


# --- time ---


def test_head_that_does_not_end_in_time_is_rejected(starter: RelayStarter) -> None:
    limits = Limits(head_seconds=0.3)
    with serve(starter, limits=limits) as relay, relay.open() as client:
        client.send(b"P")
        assert_refused(client, client.read(), 408, "head-too-slow")


def test_head_that_trickles_in_is_rejected(starter: RelayStarter) -> None:
    with serve(starter, limits=Limits(head_seconds=0.5)) as relay, relay.open() as client:
        client.send(b"GET / HTTP/1.1\r\nA: ")
        while not client.protocol.is_closing:
            client.send_while_open(b"x")
        assert_refused(client, client.read(), 408, "head-too-slow")


def test_body_that_does_not_end_in_time_is_rejected(starter: RelayStarter) -> None:
    head, body = cut(write_request("evt_1"))
    with serve(starter, limits=Limits(body_seconds=0.3)) as relay, relay.open() as client:
        client.send(head, body[:-1])
        assert_refused(client, client.read(), 408, "body-too-slow")
    assert relay.find_bodies("evt_1") == []


def test_connection_without_a_request_is_closed_without_an_answer(starter: RelayStarter) -> None:
    limits = Limits(idle_seconds=0.3, head_seconds=60)
    with serve(starter, limits=limits) as relay, relay.open() as client, relay.open() as used:
        assert used.ask(LIVE).status == 200
        assert client.is_ended()
        assert used.is_ended()


def test_connection_with_unread_responses_is_aborted(starter: RelayStarter) -> None:
    limits = Limits(idle_seconds=0.5)
    with serve(starter, limits=limits) as relay, relay.open(receive_buffer_bytes=4096) as client:
        fill_answers(client)
        await_that(lambda: not relay.connections)


def test_client_that_does_not_close_after_a_rejection_is_cut(starter: RelayStarter) -> None:
    limits = Limits(linger_seconds=0.3)
    with serve(starter, limits=limits) as relay, relay.open() as client:
        client.send(b"rubbish\r\n\r\n")
        assert_refused(client, client.read(), 400, "request-malformed")
        await_that(lambda: not relay.connections)


def test_rejection_reaches_a_client_that_is_still_sending(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as client:
        head, _ = cut(write_request("evt_1", b"", content_length=str(50_000_000)))
        client.socket.sendall(head + b"x" * 3_000_000)
        assert_refused(client, client.read(), 413, "body-too-large")


def test_head_that_is_too_large_is_rejected(starter: RelayStarter) -> None:
    with serve(starter) as relay:
        for head in (
            b"GET / HTTP/1.1\r\nA: " + b"x" * 40_000,
            b"GET / HTTP/1.1\r\n" + b"A:b\r\n" * 102,
        ):
            with relay.open() as client:
                client.send_while_open(head)
                assert_refused(client, client.read(), 431, "head-too-large")
        assert read_metric(relay, "relay_rejections_total", code="head-too-large") == 2


# --- number ---


def test_connection_beyond_the_limit_closes_the_one_that_has_waited_longest(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(connections=3)
    with serve(starter, limits=limits) as relay, open_many(relay, 3) as clients:
        clients[0].send(b"G")
        assert clients[1].ask(LIVE).status == 200
        with relay.open() as newest:
            # It alone has done nothing since it was opened.
            assert is_cut(clients[2])
            assert newest.ask(LIVE).status == 200
            assert clients[0].ask(LIVE[1:]).status == 200
            assert clients[1].ask(LIVE).status == 200
        warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert any("MAX_CONNECTIONS" in record.getMessage() for record in warnings)
        await_that(lambda: len(relay.connections) == 2)
        assert read_metric(relay, "relay_connections_evicted_total", reason="connections") == 1


def test_warnings_about_the_limit_are_few(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(starter, limits=Limits(connections=2)) as relay, open_many(relay, 40):
        warnings = [r for r in caplog.records if "MAX_CONNECTIONS" in r.getMessage()]
        assert len(warnings) == 1


def test_end_of_evictions_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    log = EvictionLog("MAX_CONNECTIONS reached", clock)
    for _ in range(400):
        log.note_eviction()
        clock.advance(1)
    log.end_if_quiet()
    clock.advance(59)
    log.end_if_quiet()
    assert caplog.messages == [
        "MAX_CONNECTIONS reached; evicting those that waited longest",
        "MAX_CONNECTIONS reached; evicting those that waited longest (for 5 minutes)",
        "no evictions for 60 s; before, MAX_CONNECTIONS reached",
    ]


def test_connection_that_delivered_an_event_outlasts_unauthenticated_ones(
    starter: RelayStarter,
) -> None:
    with serve(starter, limits=Limits(connections=3)) as relay, relay.open() as trusted:
        assert trusted.ask(write_request("evt_1")).status == 202
        with open_many(relay, 20):
            assert trusted.ask(write_request("evt_2")).status == 202
            # Also one that sends its first event now.
            with relay.open() as other:
                assert other.ask(write_request("evt_3")).status == 202


def test_request_that_is_being_answered_is_never_dropped(starter: RelayStarter) -> None:
    with serve(starter, limits=Limits(connections=2)) as relay, open_many(relay, 2) as clients:
        with relay.hold_store():
            for number, client in enumerate(clients):
                client.send(write_request(f"evt_{number}"))
            await_that(lambda: relay.taken == 2)
            with relay.open_unaccepted() as refused:
                assert is_cut(refused)
        assert [client.read().status for client in clients] == [202, 202]


# --- memory ---


def test_unfinished_bodies_beyond_the_budget_give_way_the_oldest_first(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    head, _ = cut(write_request("evt_1", b"", content_length="60000"))
    limits = Limits(held_bytes=200_000)
    with serve(starter, limits=limits) as relay, open_many(relay, 4) as clients:
        for client in clients[:3]:
            client.send(head, b"x" * 50_000)
        assert clients[3].ask(write_request("evt_2")).status == 202
        clients[3].send_while_open(head, b"x" * 59_000)
        assert is_cut(clients[0])
        # The others go on.
        assert clients[1].ask(b"x" * 10_000).status == 401
        assert any("unfinished requests" in record.getMessage() for record in caplog.records)
        assert read_metric(relay, "relay_connections_evicted_total", reason="memory") == 1


def test_requests_behind_answers_that_are_not_read_count_towards_the_budget(
    starter: RelayStarter,
) -> None:
    with (
        serve(starter, limits=Limits(held_bytes=6_000)) as relay,
        relay.open(receive_buffer_bytes=4096) as flooding,
        relay.open() as other,
    ):
        # Unread responses stay below 3,000 bytes: the requests behind them exceed the budget.
        flooding.protocol.shrink_write_buffers(4096)
        while len(relay.connections) == 2:
            flooding.send_while_open(LIVE * 100)
        assert other.ask(write_request("evt_1")).status == 202
        assert read_metric(relay, "relay_connections_evicted_total", reason="memory") == 1


# --- file descriptors ---


def test_limit_that_file_descriptors_allow_is_the_one_wanted() -> None:
    assert bound_connections(10) == 10


@pytest.mark.parametrize(
    ("soft", "hard", "bound"), [(256, 4096, 500), (256, 512, 384), (64, 64, 32)]
)
def test_limit_is_what_file_descriptors_allow(soft: int, hard: int, bound: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip(f"the hard limit of file descriptors is below {hard}")
    code = (
        "import logging, resource; logging.basicConfig();"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
        "from app.server.connections import bound_connections; print(bound_connections(500))"
    )
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert int(done.stdout) == bound
    assert ("ulimit" in done.stderr) == (bound < 500)
