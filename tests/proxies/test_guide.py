"""The two configurations of docs/guides/deploy.md behave as the page says."""

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, cast

import pytest

from app.api.webhooks import MAXIMUM_WAIT_SECONDS
from app.demo.local_supabase import find_free_port
from app.server.limits import Limits
from tests.docs.pages import DOCS
from tests.e2e.conftest import READY_SECONDS, RelayProcess, await_that, run_relays
from tests.proxies.configurations import CADDY, CADDY_GUIDE, GUIDES, NGINX, NGINX_GUIDE
from tests.proxies.conftest import UNREACHABLE, read_stored_ids, start_proxy
from tests.proxies.programs import Configuration, Proxy
from tests.proxies.test_connections import find_connections
from tests.proxies.wire import Client, make_event, write_request

GUIDE: Final = DOCS / "guides" / "deploy.md"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(params=GUIDES, ids=lambda each: each.name)
def configuration(request: pytest.FixtureRequest) -> Configuration:
    return cast(Configuration, request.param)


@contextmanager
def serve_upstream(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Read one request of each connection, send `answer`, and close.

    Yields the port, and the requests so far.
    """
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(65_536)
                if not request:
                    return
                requests.append(request)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield port, requests
        finally:
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


@pytest.mark.parametrize(
    ("file", "idle", "reading"),
    [
        (NGINX_GUIDE, r"\bkeepalive_timeout (\d+)s", r"proxy_read_timeout (\d+)s"),
        (CADDY_GUIDE, r"\bkeepalive (\d+)s", r"response_header_timeout (\d+)s"),
    ],
    ids=["nginx", "caddy"],
)
def test_timeouts_fit_those_of_the_relay(file: Path, idle: str, reading: str) -> None:
    text = file.read_text()
    idle_seconds, reading_seconds = (
        [int(seconds) for seconds in re.findall(pattern, text)] for pattern in (idle, reading)
    )
    limits = Limits()
    assert [seconds < limits.idle_seconds - 10 for seconds in idle_seconds] == [True]
    assert [seconds > MAXIMUM_WAIT_SECONDS for seconds in reading_seconds] == [True]


def test_metrics_are_not_exposed(relay: RelayProcess, guide_proxy: Proxy) -> None:
    request = write_request("/metrics", {}, method="GET")
    with Client(guide_proxy.connect) as outside:
        assert outside.ask(request, method="GET").status == 404
    with Client(lambda: socket.create_connection(("127.0.0.1", relay.port))) as inside:
        assert inside.ask(request, method="GET").status == 200


def test_offer_to_upgrade_is_not_forwarded(configuration: Configuration) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEA"}
    with serve_upstream(_ANSWER) as (port, requests), ExitStack() as stack:
        proxy = start_proxy(stack, configuration, port)
        client = stack.enter_context(Client(proxy.connect))
        assert client.ask(write_request("/webhooks", offer, b"{}")).status == 200
    (request,) = requests
    head = request.lower().partition(b"\r\n\r\n")[0]
    assert head.startswith(b"post /webhooks http/1.1\r\n")
    assert b"upgrade" not in head


def send_events(relay: RelayProcess, client: Client) -> list[int]:
    """Send enough events for each replica, and return the response statuses.

    Each 202 names the event that was sent, and that event is stored.
    """
    statuses = []
    for _ in range(20):
        event = make_event(relay.secret)
        answer = client.post(event)
        statuses.append(answer.status)
        if answer.status == 202:
            assert answer.document["event_id"] == event.event_id
            assert event.event_id in read_stored_ids(relay)
    return statuses


def test_event_for_a_replica_that_does_not_run_is_sent_to_another_by_nginx(
    relay: RelayProcess,
) -> None:
    with ExitStack() as stack:
        proxy = start_proxy(stack, NGINX, find_free_port(), relay.port)
        client = stack.enter_context(Client(proxy.connect))
        assert send_events(relay, client) == [202] * 20


def test_event_whose_replica_ends_before_it_answers_is_sent_to_another_by_nginx(
    relay: RelayProcess,
) -> None:
    with serve_upstream(b"") as (port, requests), ExitStack() as stack:
        proxy = start_proxy(stack, NGINX, port, relay.port)
        client = stack.enter_context(Client(proxy.connect))
        assert send_events(relay, client) == [202] * 20
    assert requests


def test_replica_that_is_not_ready_gets_no_events_from_caddy_that_checks(
    relay: RelayProcess,
) -> None:
    checks = ("health_uri /health/ready", "health_interval 2s")
    assert [check in GUIDE.read_text() for check in checks] == [True, True]
    proxied = "reverse_proxy <relay> {"
    assert proxied in CADDY.site
    site = CADDY.site.replace(proxied, "\n".join((proxied, *checks)))
    with ExitStack() as stack:
        checking = Configuration("caddy-checking", "caddy", site)
        proxy = start_proxy(stack, checking, find_free_port(), relay.port)
        client = stack.enter_context(Client(proxy.connect))
        await_that(lambda: send_events(relay, client) == [202] * 20, READY_SECONDS)


def test_event_after_a_restart_of_the_relay_is_accepted(
    tmp_path: Path, configuration: Configuration
) -> None:
    with run_relays(tmp_path) as make, ExitStack() as stack:
        relay = make(**UNREACHABLE)
        proxy = start_proxy(stack, configuration, relay.port)
        client = stack.enter_context(Client(proxy.connect))
        assert client.post(make_event(relay.secret)).status == 202
        relay.stop(signal.SIGTERM)
        relay.start()
        assert client.post(make_event(relay.secret)).status == 202


def test_slow_body_reaches_the_relay_only_when_nginx_has_all_of_it(
    relay: RelayProcess,
) -> None:
    with ExitStack() as stack:
        proxy = start_proxy(stack, NGINX, relay.port)
        before = find_connections(relay)
        request = write_request("/webhooks", {"content-type": "application/json"}, b"{}")
        slow = stack.enter_context(Client(proxy.connect))
        slow.send(request[:-1])
        other = stack.enter_context(Client(proxy.connect))
        assert other.post(make_event(relay.secret)).status == 202
        assert len(find_connections(relay) - before) == 1
        assert slow.ask(request[-1:]).status == 401
