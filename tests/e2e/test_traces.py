"""`relay serve` with traces: it starts, stops in time, and says what is missing."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import RelayProcess
from tests.observability.collector import run_collector

# Runs the command line in a Python that lacks the extra, and prints what it has imported of it.
_RUN = """
import sys
for name in ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf"):
    sys.modules[name] = None
sys.argv = ["relay", "serve"]
from app.cli.entry_point import main
main()
"""
_SUPABASE = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_test"}
_USER = {"id": "123e4567-e89b-12d3-a456-426614174000", "email": "a@example.com", "username": "a"}


@pytest.fixture
def hanging_collector() -> Iterator[str]:
    """A server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def start(folder: Path, **settings: str) -> RelayProcess:
    relay = RelayProcess(_SUPABASE | settings, folder)
    relay.start()
    return relay


def test_stop_exports_the_last_spans(tmp_path: Path) -> None:
    with run_collector() as collector:
        relay = start(
            tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="60000"
        )
        try:
            assert relay.post("user.created", _USER, wait=0).status_code == 202
        finally:
            assert relay.stop() == 0
        (request,) = collector.find("POST /webhooks")
    assert request.attributes["relay.code"] == "accepted"
    assert request.resource["service.name"] == "supabase-sync-relay"


@pytest.mark.parametrize("kind", ["hanging", "absent"])
def test_collector_that_hangs_or_is_absent_delays_no_response_and_little_of_the_stop(
    tmp_path: Path, hanging_collector: str, kind: str
) -> None:
    url = hanging_collector if kind == "hanging" else "http://127.0.0.1:9"
    relay = start(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_BSP_SCHEDULE_DELAY="10")
    try:
        for number in range(20):
            user = _USER | {"username": f"a{number}"}
            assert relay.post("user.updated", user, wait=0).status_code == 202
    finally:
        began_at = time.monotonic()
        assert relay.stop() == 0
    assert time.monotonic() - began_at < 5
    assert "Traceback" not in relay.log


def run_without_the_extra(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    relay = RelayProcess(_SUPABASE | environment, folder)
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _RUN],
        cwd=folder,
        env=relay.environment(),
        stderr=subprocess.PIPE,
    )


def test_relay_without_the_extra_serves(tmp_path: Path) -> None:
    with run_without_the_extra(tmp_path) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, b"")
        assert any(b"listening on" in line for line in lines)
        process.terminate()
        assert process.wait(30) == 0


def test_relay_without_the_extra_that_is_asked_for_traces_says_how_to_install_it(
    tmp_path: Path,
) -> None:
    with run_without_the_extra(tmp_path, OTEL_TRACES_EXPORTER="otlp") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    text = " ".join(errors.decode().split())
    assert "OTEL_TRACES_EXPORTER asks for traces, but OpenTelemetry is not installed" in text
    assert "pip install 'supabase-sync-relay[otel]'" in text
    assert "Traceback" not in text
