"""The servers that are measured, each a process of its own, on the servers' processors."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.cli.local_supabase import find_free_port
from benchmarks.requests import SECRET

_START_SECONDS: Final = 60.0
JWT_SECRET: Final = "the secret of the operators of a benchmark"  # noqa: S105
# Nothing listens there: all waits, and nothing is written.
NOWHERE: Final = "http://127.0.0.1:9"


@contextmanager
def run_ceiling(folder: Path) -> Iterator[int]:
    """Run a raw asyncio server that answers 202 to anything, and give its port."""
    port = find_free_port()
    with _run([sys.executable, "-m", "benchmarks.ceiling", str(port), "202"], port, folder):
        yield port


@contextmanager
def run_supabase(folder: Path) -> Iterator[str]:
    """Run what takes every write of a relay at once, and give its URL."""
    port = find_free_port()
    with _run([sys.executable, "-m", "benchmarks.ceiling", str(port), "201"], port, folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_bare(folder: Path) -> Iterator[int]:
    """Run the bare FastAPI handler, on uvicorn as the relay runs on it, and give its port."""
    port = find_free_port()
    with _run([sys.executable, "-m", "benchmarks.bare", str(port)], port, folder):
        yield port


@contextmanager
def run_relay(folder: Path, store_url: str, supabase_url: str) -> Iterator[int]:
    """Run a relay and give its port."""
    port = find_free_port()
    settings = {
        "PORT": str(port),
        "STORE_URL": store_url,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_SECRET_KEY": "sb_secret_benchmark",
        "WEBHOOK_SECRETS": SECRET,
        "JWT_SECRET": JWT_SECRET,
        "LOG_LEVEL": "WARNING",
        # Stored events may be of any age, and a purge would be measured too.
        "RETENTION_DAYS": "36500",
    }
    relay = Path(sys.executable).with_name("relay")
    with _run([str(relay), "serve"], port, folder, settings):
        yield port


@contextmanager
def _run(
    command: list[str], port: int, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[None]:
    log = folder / f"{port}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        **(settings or {}),
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - ours
            command, cwd=folder, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _is_listening(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[-2:]} did not start: {log.read_text()}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
