"""`relay healthcheck`: ask the relay of this container whether it is ready.

Runs every few seconds, so it imports neither the settings nor httpx, which take seconds.
"""

import os
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

import typer
from dotenv import dotenv_values

from app.cli.errors import CommandFailed

_DEFAULTS: Final = {"HOST": "127.0.0.1", "PORT": "8080"}
# A listener on every address is called on loopback.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
_FIRST_PROCESS: Final = Path("/proc/1/cmdline")


def healthcheck(
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Ask here instead of HOST.")
    ] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="Ask here instead of PORT.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Wait this long.")
    ] = 2.0,
) -> None:
    """Ask the relay of this container whether it accepts events.

    Exit code 0 if /health/ready responds with 200, else 1. The address is that
    of the relay's start: the options of a `relay serve` that is the first process
    of the container, else HOST and PORT. No proxy is used.

    Examples:
      relay healthcheck
    """
    environment = {name.upper(): value for name, value in os.environ.items()}
    settings = _DEFAULTS | {
        name: value
        for source in (_read_env_file(), environment, read_serve_options(_read_command_line()))
        for name, value in source.items()
        if value and name in _DEFAULTS
    }
    host, port = host or settings["HOST"], port or settings["PORT"]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CommandFailed(f"PORT is {port}: name the port that the relay listens on with --port")
    check_ready(_LOOPBACK.get(host, host), int(port), timeout)


def check_ready(host: str, port: int, timeout_seconds: float) -> None:
    """Ask a relay whether it is ready.

    Raises:
        CommandFailed: it is not, or nothing responds.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/health/ready")
        with connection.getresponse() as response:
            status = response.status
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandFailed(f"no relay responds at {address}: {reason}") from error
    finally:
        connection.close()
    if status != 200:
        raise CommandFailed(f"the relay at {address} is not ready: HTTP status {status}")


def read_serve_options(command_line: Sequence[str]) -> Mapping[str, str]:
    """Return HOST and PORT as the options of `relay serve` in a command line give them."""
    if "serve" not in command_line:
        return {}
    words = command_line[command_line.index("serve") + 1 :]
    # --port 9000 and --port=9000 alike.
    parts = [part for word in words for part in word.split("=", 1)]
    return {
        name[2:].upper(): value for name, value in pairwise(parts) if name in ("--host", "--port")
    }


def _read_env_file() -> Mapping[str, str | None]:
    try:
        return dotenv_values(".env")
    except OSError:
        return {}


def _read_command_line() -> Sequence[str]:
    try:
        return _FIRST_PROCESS.read_text(errors="replace").split("\0")
    except OSError:
        return []
