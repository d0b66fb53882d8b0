"""A program that listens on a port of loopback, run until a block ends."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import START_SECONDS, STOP_SECONDS, start_guarded
from tests.postgres_binaries import Owner


class DaemonError(RuntimeError):
    """A program did not start; `str(error)` is a sentence."""


@contextmanager
def run_daemon(
    command: Sequence[str | Path], folder: Path, port: int, owner: Owner
) -> Iterator[None]:
    """Run a program as `owner` in its folder; it also ends if the tests are killed.

    Raises:
        DaemonError: it does not listen on the port.
    """
    owner.give(folder)
    guard = start_guarded(command, folder, owner)
    try:
        _await_start(guard, port, folder / "log")
        yield
    finally:
        # The guard ends its program when its standard input closes.
        if guard.stdin is not None:
            guard.stdin.close()
        guard.wait(STOP_SECONDS)


def _await_start(guard: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and guard.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise DaemonError(f"{guard.args!r} did not start: {log.read_text(errors='replace')}")
