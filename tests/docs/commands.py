"""Run the commands that the guides show, unchanged."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.demo.local_supabase import find_free_port
from tests.docs.conftest import Relay
from tests.docs.pages import CHECKOUT, read_region

SETTLE_SECONDS = 60.0
USER_ID = "123e4567-e89b-12d3-a456-426614174000"
USER = (f"id={USER_ID}", "email=ana@example.com", "username=ana")


def run_script(
    script: str, folder: Path, environment: Mapping[str, str], *, expected_code: int = 0
) -> str:
    """Run shell commands, with `relay` on the PATH, and return their output."""
    for tool in re.findall(r"^(?:\w+=\S+ )*(curl|sqlite3|psql|pg_dump)\b", script, re.MULTILINE):
        if shutil.which(tool, path=environment.get("PATH")) is None:
            pytest.skip(f"no {tool} on this machine")
    path = environment.get("PATH", os.environ["PATH"])
    done = subprocess.run(  # noqa: S603 - the commands are ours
        [find_bash(), "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "PATH": f"{path}{os.pathsep}{Path(sys.executable).parent}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == expected_code, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_region(name: str, relay: Relay, *, expected_code: int = 0, **variables: str) -> str:
    """Run a region of operate.sh in the relay's folder and return its output."""
    environment = make_environment(relay) | variables
    return run_script(region_of(name), relay.folder, environment, expected_code=expected_code)


def region_of(name: str) -> str:
    return read_region(f"sh/operate.sh#{name}")


def find_bash() -> str:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    return bash


def make_environment(relay: Relay) -> dict[str, str]:
    docs = relay.folder / "docs"
    if not docs.exists():
        docs.symlink_to(CHECKOUT / "docs")
    return {**relay.caller_environment, "USER": "jane", "COLUMNS": "200"}


def await_that(condition: Callable[[], bool], complaint: Callable[[], object]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def read_health(relay: Relay) -> dict[str, Any]:
    with urllib.request.urlopen(f"{relay.url}/health", timeout=60) as response:  # noqa: S310
        health: dict[str, Any] = json.load(response)
    return health


def await_settled(relay: Relay) -> None:
    await_that(lambda: read_health(relay)["backlog"]["pending"] == 0, lambda: read_health(relay))


@contextmanager
def serve_region(
    name: str, folder: Path, replacements: dict[str, str], **variables: str
) -> Iterator[Relay]:
    """Run a region that serves, on a free port, until the block ends."""
    port = find_free_port()
    code = re.sub(r"--port \d+", "", region_of(name))
    for old, new in replacements.items():
        assert old in code
        code = code.replace(old, new)
    running = Relay(f"http://127.0.0.1:{port}", folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = make_environment(running) | {"PATH": path, "PORT": str(port)} | variables
    with (
        (folder / "region.log").open("wb") as log,
        subprocess.Popen(  # noqa: S603
            [find_bash(), "-euc", f"exec env {code}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            await_that(lambda: is_listening(port), (folder / "region.log").read_text)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
