"""Forks processes that run the `relay` command, for `tests.forked`.

Usage: python -m tests.fork_server <descriptor of a socket>

Each request is a line of JSON: `{"poll": <pid>}`, answered with the exit code or null, or
`{"arguments", "folder", "environment"}` with the three standard files, answered with the pid.
"""

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

# Not `app.cli.output.console`: it looks at its environment and at its standard output.
_PRELOADED: Final = (
    *("app.main", "app.server.server", "app.cli.client.relay_client", "app.doctor.project_checks"),
    *("rich.progress", "rich.table", "typer.main", "uvloop"),
)


def _serve_requests(connection: socket.socket) -> list[str]:
    """Answer requests until their sender ends; in each forked process, return its arguments."""
    while True:
        line, files = b"", []
        while not line.endswith(b"\n"):
            part, received, *_ = socket.recv_fds(connection, 65_536, 3)
            if not part:
                sys.exit()
            line += part
            files += received
        request = json.loads(line)
        if "poll" in request:
            ended, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif (answer := os.fork()) == 0:
            connection.close()
            _become(request, files)
            return cast(list[str], request["arguments"])
        for file in files:
            os.close(file)
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Take the folder, the environment and the standard files of a request."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _main() -> None:
    # A Ctrl-C in the terminal of the tests is for the tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    for name in _PRELOADED:
        import_module(name)
    gc.enable()
    gc.freeze()
    arguments = _serve_requests(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [str(Path(sys.executable).with_name("relay")), *arguments]
    import_module("app.cli.entry_point").main()


if __name__ == "__main__":
    _main()
