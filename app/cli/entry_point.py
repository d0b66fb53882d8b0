"""The entry point of the `relay` command: imports nothing that is slow to import.

`relay serve` spends most of its start in imports, and nothing is open yet that a sudden end could
damage: a stop signal ends the process at once. Without a handler, the kernel ignores the signal for
PID 1, as in a container.
"""

import os
import signal
import sys


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["serve"]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)
    from app.cli.relay import main as run

    run()


def _end(*_: object) -> None:
    os._exit(0)
