"""Where the sending of a file stands, kept beside it, so that a run after a kill goes on."""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Self

from pydantic import TypeAdapter, ValidationError

from app.cli.client.ndjson import Place
from app.store.private_files import open_private

_SUFFIX: Final = ".relay-progress"
_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Tally:
    """What became of the lines of a file so far."""

    lines: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    invalid: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a bookmark holds.

    Attributes:
        url: the relay that it was sent to.
        offset: bytes of the file that are done with.
        sha256: over those bytes.
        tally: what became of their lines.
        rejects_bytes: how long the file of rejects was then.
    """

    url: str
    offset: int
    sha256: str
    tally: Tally = field(default_factory=Tally)
    rejects_bytes: int = 0


_PROGRESS: Final = TypeAdapter(Progress)


class Bookmark:
    """The bookmark of one file; of standard input there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f"{path.name}.partial")

    @classmethod
    def of(cls, file: Path) -> Self:
        """Give the bookmark of a file."""
        return cls(file.with_name(f"{file.name}{_SUFFIX}"))

    def read(self) -> Progress | None:
        """Give what it holds; None where there is none that can be read."""
        try:
            return _PROGRESS.validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, progress: Progress) -> None:
        """Replace what it holds: a kill leaves the old one or the new one.

        No fsync: what a power cut takes back is sent again, and is a duplicate then.

        Raises:
            OSError: it cannot be written.
        """
        with open_private(self._partial, "wb") as file:
            file.write(json.dumps(asdict(progress)).encode())
        os.replace(self._partial, self.path)  # noqa: PTH105 - Path.replace is the same

    def remove(self) -> None:
        """Take it away, also what a kill may have left of it."""
        for path in (self.path, self._partial):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def find_place(file: BinaryIO, progress: Progress) -> Place | None:
    """Bring a file to where it stood; None, and back to its start, if it is another one now."""
    digest = hashlib.sha256()
    remaining = progress.offset
    while remaining and (chunk := file.read(min(remaining, _CHUNK_BYTES))):
        digest.update(chunk)
        remaining -= len(chunk)
    if remaining or digest.hexdigest() != progress.sha256:
        file.seek(0)
        return None
    return Place(progress.tally.lines, progress.offset, digest)
