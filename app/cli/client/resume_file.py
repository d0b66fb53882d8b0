"""The progress of `relay send --file`, saved next to the file: a run after a kill resumes there."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.store.private_files import open_private

_SUFFIX: Final = ".relay-progress"


@dataclass(slots=True)
class Tally:
    """The number of lines so far, and of each result."""

    lines: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    invalid: int = 0


@dataclass(slots=True)
class Progress:
    """How far a file has been sent.

    Attributes:
        url: of the relay.
        file_version: tells whether the file has changed since.
        offset: bytes of the file that are done.
        tally: the results of their lines.
        rejects_bytes: the length of the file of rejects.
    """

    url: str
    file_version: str
    offset: int = 0
    tally: Tally = field(default_factory=Tally)
    rejects_bytes: int = 0


_PROGRESS: Final = TypeAdapter(Progress)


def read_file_version(path: Path) -> str:
    """Return a text that changes with the file.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return f"{status.st_ino}/{status.st_size}/{status.st_mtime_ns}"


class ResumeFile:
    """The saved progress of one file of events."""

    def __init__(self, events: Path) -> None:
        self.path = events.with_name(f"{events.name}{_SUFFIX}")
        self._partial = self.path.with_name(f"{self.path.name}.partial")

    def read(self) -> Progress | None:
        """Return the progress, if a readable one is kept."""
        try:
            return _PROGRESS.validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, progress: Progress) -> None:
        """Replace the progress; a kill leaves the old one or the new one.

        No fsync: lines that a power cut makes it forget are sent again, and are duplicates then.

        Raises:
            OSError: it cannot be written.
        """
        with open_private(self._partial, "wb") as file:
            file.write(json.dumps(asdict(progress)).encode())
        os.replace(self._partial, self.path)  # noqa: PTH105 - Path.replace is the same

    def remove(self) -> None:
        """Remove it, and what a kill may have left of it."""
        for path in (self.path, self._partial):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
