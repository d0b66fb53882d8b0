"""Runs one command until it ends, or until its parent process is gone.

Usage: python postgres_guard.py <directory> <user id> <group id> <command> …

Standard input is a pipe whose other end only the starter holds: when it ends, the starter has
ended, and the command is stopped and the directory removed. It is a process of its own
because PostgreSQL has no such watch, and PR_SET_PDEATHSIG is Linux's alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any


def main(directory: str, user_id: int, group_id: int, command: list[str]) -> int:
    as_whom: dict[str, Any] = {}
    if user_id != os.geteuid():
        as_whom = {"user": user_id, "group": group_id, "extra_groups": []}
    orphaned = threading.Event()

    def stop_when_orphaned() -> None:
        os.read(sys.stdin.fileno(), 1)
        orphaned.set()
        process.send_signal(signal.SIGCONT)
        # The postmaster's immediate shutdown; it kills those of its children that do not heed it.
        process.send_signal(signal.SIGQUIT)

    with subprocess.Popen(  # noqa: S603 - the command is the starter's
        command, cwd=directory, stdin=subprocess.DEVNULL, **as_whom
    ) as process:
        threading.Thread(target=stop_when_orphaned, daemon=True).start()
        status = process.wait()
    if orphaned.is_set():
        shutil.rmtree(directory, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
