"""Clients that offer HTTP/2 receive HTTP/1.1 responses, and their body is read."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import RelayProcess
from tests.proxies.configurations import CADDY_DEFAULTS, CONFIGURATIONS, NGINX_OPEN
from tests.proxies.conftest import start_proxy
from tests.proxies.programs import Configuration, Proxy
from tests.proxies.wire import Client, Event, make_batch, make_event, write_request

TARGETS: Final = ("/webhooks", "/webhooks/batch")
# As curl and the JDK offer it.
H2C: Final = {
    "Connection": "Upgrade, HTTP2-Settings",
    "Upgrade": "h2c",
    "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
}
JAVA: Final = Path(__file__).with_name("SendEvent.java")


def name_configuration(configuration: Configuration | None) -> str:
    return "direct" if configuration is None else configuration.name


# The relay itself, and proxies that forward such an offer. Over TLS the JDK makes none.
FORWARDING: Final = (None, NGINX_OPEN, CADDY_DEFAULTS)


@pytest.fixture(scope="module", params=[None, *CONFIGURATIONS], ids=name_configuration)
def proxy(request: pytest.FixtureRequest, relay: RelayProcess) -> Iterator[Proxy]:
    """Give the relay itself, and then each proxy before it."""
    with ExitStack() as stack:
        if request.param is None:
            yield Proxy(Configuration("direct", "nginx", ""), relay.port, None)
        else:
            yield start_proxy(stack, request.param, relay.port)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def event(relay: RelayProcess, target: str) -> Event:
    return make_event(relay.secret) if target == "/webhooks" else make_batch(relay.secret, 3)


@pytest.mark.parametrize("chunk_bytes", [None, 50])
def test_event_with_an_offer_of_http_2_is_accepted(
    relay: RelayProcess, client: Client, target: str, event: Event, chunk_bytes: int | None
) -> None:
    request = write_request(target, {**event.headers, **H2C}, event.body, chunk_bytes=chunk_bytes)
    for status in (202, 200, 200):
        answer = client.ask(request)
        assert answer.status == status, answer
    assert client.post(make_event(relay.secret)).status == 202


def test_curl_that_offers_http_2_sends_an_event(
    proxy: Proxy, target: str, event: Event, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in run(curl, "--version"):
        pytest.skip("no curl with HTTP/2 on this machine")
    body = tmp_path / "body"
    body.write_bytes(event.body)
    trust = [] if proxy.certificate is None else ["--cacert", str(proxy.certificate)]
    headers = [part for header in list_headers(event.headers) for part in ("--header", header)]
    send = [curl, "--http2", "--silent", "--show-error", "--noproxy", "*", *trust, *headers]
    send += ["--data-binary", f"@{body}", "--output", os.devnull, "--write-out", "%{http_code}"]
    said = [run(*send, f"{proxy.url}{target}") for _ in range(2)]
    assert said == ["202", "200"]


@pytest.mark.parametrize("proxy", FORWARDING, indirect=True, ids=name_configuration)
def test_java_that_offers_http_2_sends_an_event(
    proxy: Proxy, target: str, event: Event, tmp_path: Path
) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("no JDK on this machine")
    body = tmp_path / "body"
    body.write_bytes(event.body)
    headers = [part for pair in event.headers.items() for part in pair]
    said = run(java, str(JAVA), f"{proxy.url}{target}", str(body), *headers)
    assert said.splitlines() == ["202 HTTP_1_1", "200 HTTP_1_1"]


def list_headers(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def run(*command: str) -> str:
    """Run a program and return its output."""
    done = subprocess.run(  # noqa: S603 - the commands are ours
        command, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
