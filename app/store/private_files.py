"""Files that hold data of people or secrets: only their owner may read them."""

import os
import shlex
from pathlib import Path
from typing import IO, Final, Literal

_OWNER_ONLY: Final = 0o600
# The database, its write-ahead log, the log's index, a rollback journal, the lock of the relay.
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".lock")


def open_private(path: Path, mode: Literal["ab", "wb", "r+b"]) -> IO[bytes]:
    """Open a file. A new one is created for its owner alone, with any umask.

    Raises:
        OSError: it cannot be opened.
    """
    return open(path, mode, opener=_open)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ONLY)


def create_private(path: Path) -> None:
    """Create an empty file, unless there is one.

    An existing file is not even opened: closing it would release every lock that SQLite holds on
    it in this process.

    Raises:
        OSError: it cannot be created.
    """
    if not path.exists():
        open_private(path, "ab").close()


def describe_exposure(database: Path) -> str | None:
    """Say which files of a SQLite database others on this machine may read or write, if any."""
    files = [Path(f"{database}{suffix}") for suffix in _SUFFIXES]
    exposed = [str(file) for file in files if file.exists() and file.stat().st_mode & 0o077]
    if not exposed:
        return None
    return (
        f"other users of this machine can read or write the store: {', '.join(exposed)};"
        f" run `chmod 600 {shlex.join(exposed)}`"
    )
