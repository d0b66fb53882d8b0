"""A throw-away PostgreSQL on a Unix socket."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START_SECONDS = 30.0


def find_postgres() -> Path | None:
    """Find the folder of initdb and postgres: on PATH, or where Debian keeps them."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


@contextmanager
def run_postgres(binaries: Path) -> Iterator[str]:
    """Run it with an empty database until the block ends; gives a libpq connection string."""
    # Not pytest's folder: a socket's path has at most 107 bytes, and another user must get in.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_whom = _choose_user(folder)
        data = folder / "data"
        subprocess.run(  # noqa: S603 - the command is ours
            [binaries / "initdb", "-D", data, "-U", "relay", "-A", "trust", "-N", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_whom,
        )
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(  # noqa: S603 - the command is ours
                [
                    *(binaries / "postgres", "-D", data, "-k", folder),
                    *("-c", "listen_addresses=", "-c", "fsync=off"),
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                **as_whom,
            ) as process,
        ):
            try:
                _await_ready(process, data / "postmaster.pid", folder / "log")
                yield f"host={folder} user=relay dbname=postgres sslmode=disable"
            finally:
                process.send_signal(2)  # fast shutdown
                process.wait(30)


def _choose_user(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _await_ready(process: subprocess.Popen[bytes], pid_file: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        # The last line of the file says how far the start is.
        if pid_file.exists() and pid_file.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.05)
    raise AssertionError(f"PostgreSQL did not start: {log.read_text()}")
