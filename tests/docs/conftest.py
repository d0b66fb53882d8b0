"""A real relay for the documents' code, and a fake Supabase that records writes."""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.forked import ForkedProcess, fork_relay, run_forked_relay
from tests.postgres import PostgresServer

SECRET = "whsec_ZG9jdW1lbnRhdGlvbi1kb2N1bWVudGF0aW9uLWRvY3U="
JWT_SECRET = "the secret of the operators' tokens, long enough"
START_SECONDS = 60.0
UNREACHABLE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay.

    Attributes:
        url: where it listens.
        folder: an empty working directory, where no .env is.
    """

    url: str
    folder: Path

    @property
    def caller_environment(self) -> dict[str, str]:
        """The environment of a caller of this relay."""
        return {
            **os.environ,
            "RELAY_URL": self.url,
            "RELAY_WEBHOOK_SECRET": SECRET,
            "WEBHOOK_SECRETS": SECRET,
            "JWT_SECRET": JWT_SECRET,
            "NO_PROXY": "127.0.0.1",
            "NO_COLOR": "1",
        }

    def send(self, *arguments: str, expected_code: int = 0) -> dict[str, Any]:
        """Run `relay send --json` and return the response's body."""
        done = run_forked_relay(
            *("send", *arguments, "--json"), folder=self.folder, environment=self.caller_environment
        )
        assert done.returncode == expected_code, done.stdout + done.stderr
        body: dict[str, Any] = json.loads(done.stdout)
        return body


@contextmanager
def run_relay(folder: Path, supabase_url: str, **settings: str) -> Iterator[Relay]:
    """Run `relay serve` in a folder, by default with its store there, until the block ends."""
    log = folder / "relay.log"
    environment = {
        "PATH": os.environ["PATH"],
        "SUPABASE_URL": supabase_url,
        "SUPABASE_SECRET_KEY": "sb_secret_test",
        "WEBHOOK_SECRETS": SECRET,
        "JWT_SECRET": JWT_SECRET,
        "STORE_URL": f"sqlite:///{folder / 'relay.db'}",
        "PORT": "0",
        **settings,
    }
    with log.open("wb") as output:
        process = fork_relay(
            "serve", folder=folder, environment=environment, stdout=output, stderr=output
        )
    try:
        yield Relay(_await_url(process, log), folder)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_url(process: ForkedProcess, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        match = re.search(r"listening on (http://\S+)", log.read_text())
        if match is not None:
            return match[1]
        time.sleep(0.02)
    raise AssertionError(f"the relay did not start: {log.read_text()}")


@dataclass(slots=True)
class SupabaseWire:
    """Responds like the relay's functions when every row is applied, and records the rows.

    Attributes:
        url: where it listens.
        writes: operation, table and rows of each operation.
        refusal: status and body that every request is refused with; None accepts all.
        row_failure: SQLSTATE and message that every row fails with; None applies all.
    """

    url: str = ""
    writes: list[tuple[str, str, Any]] = field(default_factory=list)
    refusal: tuple[int, dict[str, str]] | None = None
    row_failure: dict[str, str] | None = None

    def call(self, function: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a call of one of the functions."""
        if function == "relay_claim":
            return {"protocol": 1, "epoch": 1}
        operations = request["operations"]
        self.writes += [(each["operation"], each["table"], each["rows"]) for each in operations]
        failures = [
            {"operation": number, "row": row} | self.row_failure
            for number, operation in enumerate(operations)
            for row in range(len(operation["rows"]))
            if self.row_failure is not None
        ]
        return {"sequence": request["sequence"], "failures": failures, "not_tried": []}


@pytest.fixture
def supabase_wire() -> Iterator[SupabaseWire]:
    wire = SupabaseWire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if wire.refusal is not None:
                status, content = wire.refusal[0], json.dumps(wire.refusal[1]).encode()
            elif self.command in ("GET", "HEAD"):
                status, content = 200, b"[]"
            else:
                function = self.path.rpartition("/rpc/")[2]
                answer = wire.call(function, json.loads(json.loads(body)["request"]))
                status, content = 200, json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        wire.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """Run a relay whose Supabase is unreachable; it accepts events."""
    with run_relay(tmp_path, UNREACHABLE) as running:
        yield running


@pytest.fixture
def relay_on_wire(tmp_path: Path, supabase_wire: SupabaseWire) -> Iterator[Relay]:
    """Run a relay that writes to `supabase_wire`."""
    with run_relay(tmp_path, supabase_wire.url) as running:
        yield running


@pytest.fixture
def database_url(postgres: PostgresServer) -> str:
    """Return the URL of an empty PostgreSQL database; lib/pq connects without TLS."""
    return f"{postgres.create_database()}?sslmode=disable"
