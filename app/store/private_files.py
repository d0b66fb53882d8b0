"""Files with personal data or secrets, which only their owner may read."""

import os
import shlex
from pathlib import Path
from typing import IO, Final, Literal

_OWNER_ONLY: Final = 0o600
# The database, its write-ahead log, the log's index, a rollback journal, the relay's lock.
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", ".lock")


def open_private(path: Path, mode: Literal["ab", "wb"]) -> IO[bytes]:
    """Open a file; a new one is created for its owner alone, regardless of the umask."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, _OWNER_ONLY))


def create_private(path: Path) -> None:
    """Create an empty file unless it exists.

    An existing file is not even opened: closing it would release every lock that SQLite holds on it
    in this process.
    """
    if not path.exists():
        open_private(path, "ab").close()


def describe_exposure(database: Path) -> str | None:
    """Name the files of a SQLite database that other users may read or write; None if none."""
    files = [Path(f"{database}{suffix}") for suffix in _SUFFIXES]
    exposed = [str(file) for file in files if file.exists() and file.stat().st_mode & 0o077]
    if not exposed:
        return None
    return (
        f"other users of this machine can read or write the store: {', '.join(exposed)};"
        f" run `chmod 600 {shlex.join(exposed)}`"
    )
