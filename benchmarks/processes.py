"""The measured servers, each a separate process on the servers' processors."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from app.demo.local_supabase import find_free_port
from benchmarks.machine import on_processor
from benchmarks.recording import Recording
from benchmarks.requests import SECRET

_START_SECONDS: Final = 60.0
JWT_SECRET: Final = "the secret of the operators of a benchmark"  # noqa: S105
# Nothing listens there: all waits, and nothing is written.
NOWHERE: Final = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        port: of 127.0.0.1.
        pid: of its one process.
    """

    port: int
    pid: int

    def read_processor_seconds(self) -> float:
        """Read how long processors have worked for it, in its code and in the system's."""
        # See proc(5). The name, which may have spaces, ends with the last parenthesis.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve_ceiling(folder: Path) -> Iterator[Server]:
    """Run a raw asyncio server that responds with 202 to every request."""
    port = find_free_port()
    with _run([sys.executable, "-m", "benchmarks.ceiling", str(port)], port, folder) as run:
        yield run


@contextmanager
def run_supabase(folder: Path, *, processor: int | None = None) -> Iterator[str]:
    """Run a stand-in that accepts every row of one relay at once, and give its URL.

    Args:
        folder: for its log.
        processor: to run on; by default it shares those of the relay.
    """
    port = find_free_port()
    command = [sys.executable, "-m", "benchmarks.accepting_supabase", str(port)]
    with _run(command, port, folder, processor=processor):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_bare(folder: Path) -> Iterator[int]:
    """Run the bare FastAPI handler and give its port."""
    with serve_bare(folder) as bare:
        yield bare.port


@contextmanager
def serve_bare(folder: Path, kind: Literal["fastapi", "asgi"] = "fastapi") -> Iterator[Server]:
    """Run a bare handler, on uvicorn as the relay runs on it."""
    port = find_free_port()
    with _run([sys.executable, "-m", "benchmarks.bare", kind, str(port)], port, folder) as run:
        yield run


@contextmanager
def run_recorder(
    folder: Path, supabase_url: str, *, delay_milliseconds: float, processor: int | None = None
) -> Iterator[Recording]:
    """Run a proxy before Supabase that delays what passes and records when each row was applied.

    Args:
        folder: for its log and what it records.
        supabase_url: of Supabase.
        delay_milliseconds: that a round trip takes longer, half of it on each way.
        processor: to run on; by default it shares those of the relay.
    """
    port = find_free_port()
    path = folder / f"{port}.rows"
    path.touch()
    upstream_port = supabase_url.rpartition(":")[2]
    delay = str(delay_milliseconds / 2000)
    command = [sys.executable, "-m", "benchmarks.recorder", str(port), upstream_port, delay]
    with _run([*command, str(path)], port, folder, processor=processor):
        yield Recording(f"http://127.0.0.1:{port}", path)


@contextmanager
def run_relay(folder: Path, store_url: str, supabase_url: str) -> Iterator[int]:
    """Run a relay and give its port."""
    with serve_relay(folder, store_url, supabase_url) as relay:
        yield relay.port


@contextmanager
def serve_relay(
    folder: Path,
    store_url: str,
    supabase_url: str,
    supabase_key: str = "sb_secret_benchmark",
    *,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a relay.

    Args:
        settings: more of them, and others than the benchmarks' own.
    """
    port = find_free_port()
    environment = {
        "PORT": str(port),
        "STORE_URL": store_url,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_SECRET_KEY": supabase_key,
        "WEBHOOK_SECRETS": SECRET,
        "JWT_SECRET": JWT_SECRET,
        "LOG_LEVEL": "WARNING",
        # Stored events may be of any age, and a purge would be measured too.
        "RETENTION_DAYS": "36500",
        # Only when it is measured.
        "DRIFT_CHECK_SECONDS": "0",
        **(settings or {}),
    }
    command = Path(sys.executable).with_name("relay")
    with _run([str(command), "serve"], port, folder, environment) as run:
        yield run


@contextmanager
def _run(
    command: list[str],
    port: int,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    processor: int | None = None,
) -> Iterator[Server]:
    log = folder / f"{port}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        **(settings or {}),
    }
    with (
        log.open("wb") as output,
        _start(command, folder, environment, output, processor) as process,
    ):
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _is_listening(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[-2:]} did not start: {log.read_text()}")
                time.sleep(0.02)
            yield Server(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _start(
    command: list[str],
    folder: Path,
    environment: Mapping[str, str],
    output: IO[bytes],
    processor: int | None,
) -> "subprocess.Popen[bytes]":
    with nullcontext() if processor is None else on_processor(processor):
        return subprocess.Popen(  # noqa: S603 - ours
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
