"""`relay healthcheck` finds the relay that it should ask, and says whether it is ready."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from app.cli.commands.healthcheck import read_serve_options
from tests.cli.conftest import RunCommand


class Relay(HTTPServer):
    """Responds to every request with one status, and keeps the paths."""

    def __init__(self, host: str) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, 0), Answer)
        self.status = 200
        self.paths: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Relay

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(params=["127.0.0.1", "::1"])
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    try:
        server = Relay(request.param)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def everywhere(relay: Relay) -> str:
    """Return the HOST of a relay that listens on every address of the server's family."""
    return "::" if relay.address_family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104


def test_healthcheck_asks_on_loopback_past_every_proxy(
    run: RunCommand, relay: Relay, everywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.setenv("HOST", everywhere)
    monkeypatch.setenv("PORT", str(relay.server_port))
    assert run("healthcheck").code == 0
    assert relay.paths == ["/health/ready"]


def test_healthcheck_reads_the_env_file_below_the_environment(
    run: RunCommand, relay: Relay, everywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(f"PORT=1\nHOST={everywhere}\n")
    monkeypatch.setenv("PORT", str(relay.server_port))
    assert run("healthcheck").code == 0


def test_healthcheck_of_a_relay_that_is_not_ready_fails(
    run: RunCommand, relay: Relay, everywhere: str
) -> None:
    relay.status = 503
    done = run("healthcheck", "--host", everywhere, "--port", str(relay.server_port))
    assert done.code == 1
    assert "is not ready: HTTP status 503" in done.err


def test_healthcheck_without_a_relay_fails_with_its_address(run: RunCommand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = run("healthcheck", "--port", str(port))
    assert done.code == 1
    assert f"no relay responds at 127.0.0.1:{port}: connection refused" in done.err.lower()


def test_healthcheck_of_a_relay_on_any_free_port_asks_for_the_port(run: RunCommand) -> None:
    done = run("healthcheck", "--port", "0")
    assert done.code == 1
    assert "--port" in done.err


@pytest.mark.parametrize(
    ("command_line", "options"),
    [
        (["python", "/opt/relay/bin/relay", "serve", ""], {}),
        (["python", "relay", "serve", "--port", "9000", ""], {"PORT": "9000"}),
        (["init", "--", "relay", "serve", "--port=9000"], {"PORT": "9000"}),
        (["relay", "serve", "--host=::", "--port", "1"], {"HOST": "::", "PORT": "1"}),
        (["other", "--port", "9000"], {}),
        ([], {}),
    ],
)
def test_options_of_serve_are_found_in_the_command_line_of_the_first_process(
    command_line: Sequence[str], options: Mapping[str, str]
) -> None:
    assert read_serve_options(command_line) == options
