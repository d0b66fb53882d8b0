"""Runs the `relay` command in processes forked from one that has imported it.

Imports take most of the processor time of a start. A forked process has its own id, environment,
folder, standard files and signal handlers. Tests of the start itself, of a terminal or of memory
run the command line instead.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, cast

RELAY: Final = Path(sys.executable).with_name("relay")
_CHECKOUT: Final = Path(__file__).resolve().parents[1]
_LONGEST_SECONDS: Final = 100.0
_PAUSE_SECONDS: Final = 0.005
_starting: Final = threading.Lock()


class ForkedProcess:
    """A running command, with those methods of `subprocess.Popen` that tests call."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        # The exit code is there once, and several threads may ask.
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, or the negative signal that ended it; None while it runs."""
        with self._lock:
            if self.returncode is None:
                self.returncode = _start_server().request(poll=self.pid)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, within so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("relay", timeout or 0)
            time.sleep(_PAUSE_SECONDS)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork_relay(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    stdout: IO[Any],
    stderr: IO[Any],
    stdin: IO[Any] | None = None,
) -> ForkedProcess:
    """Start the command without waiting for its end."""
    with Path(os.devnull).open("rb") as nothing:
        pid = _start_server().request(
            *((stdin or nothing).fileno(), stdout.fileno(), stderr.fileno()),
            arguments=arguments,
            folder=str(folder),
            environment=dict(environment),
        )
    return ForkedProcess(cast(int, pid))


def run_forked_relay(
    *arguments: str, folder: Path, environment: Mapping[str, str], standard_input: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        stdin, stdout, stderr = files
        stdin.write(standard_input)
        stdin.seek(0)
        process = fork_relay(
            *arguments,
            folder=folder,
            environment=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        stack.callback(process.kill)
        code = process.wait(_LONGEST_SECONDS)
        for file in files:
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


class _Server:
    """The process that has imported the command; answers one request after the other."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                cwd=_CHECKOUT,
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def request(self, *files: int, **message: Any) -> int | None:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(message).encode() + b"\n"], list(files))
            line = b""
            while not line.endswith(b"\n"):
                part = self._socket.recv(100)
                if not part:
                    raise RuntimeError("the process that forks relays has ended")
                line += part
        return cast(int | None, json.loads(line))

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _make_server() -> _Server:
    return _Server()


def _start_server() -> _Server:
    with _starting:
        return _make_server()
