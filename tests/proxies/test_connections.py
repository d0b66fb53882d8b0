"""A proxy keeps its connections to the relay after every kind of request."""

from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.e2e.conftest import RelayProcess
from tests.proxies.configurations import CONFIGURATIONS
from tests.proxies.conftest import read_stored_ids, start_proxy
from tests.proxies.wire import Client, make_event, write_request

# nginx's defaults open a connection for each request.
KEEPING = [
    each for each in CONFIGURATIONS if "defaults" not in each.name or each.program == "caddy"
]
# In this one nginx asks the relay to close after each request.
KEEPING = [each for each in KEEPING if each.name != "nginx-websocket-close"]


def find_connections(relay: RelayProcess) -> set[int]:
    """Give the remote ports of the connections that the relay has accepted."""
    assert relay.process is not None
    return {
        connection.raddr.port
        for connection in psutil.Process(relay.process.pid).net_connections("tcp4")
        if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == relay.port
    }


@pytest.fixture(params=KEEPING, ids=lambda each: each.name)
def fresh_client(request: pytest.FixtureRequest, relay: RelayProcess) -> Iterator[Client]:
    """Connect through a proxy that has no connection to the relay yet."""
    with ExitStack() as stack:
        proxy = start_proxy(stack, request.param, relay.port)
        yield stack.enter_context(Client(proxy.connect))


def test_events_and_refusals_share_one_connection(
    relay: RelayProcess, fresh_client: Client
) -> None:
    def send_event() -> str:
        event = make_event(relay.secret)
        assert fresh_client.post(event).document["event_id"] == event.event_id
        return event.event_id

    json = {"content-type": "application/json"}
    refused = {
        write_request("/webhooks", json, b"{}"): 401,
        write_request("/webhooks", json, b"{}", chunk_bytes=1): 401,
        write_request("/webhooks", json, b"x" * 60_000): 401,
        write_request("/webhooks", {"content-type": "text/plain"}, b"{}"): 415,
        write_request("/webhooks", {}, method="GET"): 405,
        write_request("/nothing", json, b"x" * 60_000): 404,
        write_request("/replay", json, b"{}"): 401,
        write_request("/webhooks", {**json, "Connection": "upgrade", "Upgrade": "h2c"}, b"{}"): 401,
    }
    before = find_connections(relay)
    sent = [send_event()]
    own = find_connections(relay) - before
    assert len(own) == 1
    for request, status in refused.items():
        assert fresh_client.ask(request).status == status
        sent += [send_event() for _ in range(5)]
    assert find_connections(relay) - before == own
    assert set(sent) <= read_stored_ids(relay)


def test_event_behind_a_request_that_ends_its_connection_is_accepted(
    relay: RelayProcess, fresh_client: Client
) -> None:
    """The relay closes the connection of a body that is too large; the proxy opens another."""
    for chunk_bytes in (None, 10_000):
        for _ in range(10):
            large = make_event(relay.secret, size_bytes=70_000)
            assert fresh_client.post(large, chunk_bytes=chunk_bytes).status == 413
            # Some proxies close as well, and need not say so.
            fresh_client.close()
            assert fresh_client.post(make_event(relay.secret)).status == 202
