"""Files of events: NDJSON lines in, batches out, in memory that does not grow with the file."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from app.domain.contract import MAXIMUM_BATCH_EVENTS
from app.domain.documents import digest_document, read_json
from app.domain.errors import FieldError, InputInvalid

BATCH_BYTES: Final = 1024 * 1024
"""The longest body that `POST /webhooks/batch` takes."""

_HEAD: Final = b'{"events":['
_TAIL: Final = b"]}"
_ROOM_BYTES: Final = BATCH_BYTES - len(_HEAD) - len(_TAIL)
_CHUNK_BYTES: Final = 64 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TOO_LONG: Final = FieldError("", f"is longer than a batch may be ({BATCH_BYTES:,} bytes)")


class Digest(Protocol):
    """A hash of what has been read so far, as hashlib gives it."""

    def update(self, data: bytes, /) -> None: ...  # noqa: D102
    def hexdigest(self) -> str: ...  # noqa: D102
    def copy(self) -> "Digest": ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file has been read: so many lines, so many bytes, and a digest over them."""

    lines: int
    offset: int
    digest: Digest

    @classmethod
    def start(cls) -> "Place":
        """Give the beginning of any file."""
        return cls(0, 0, hashlib.sha256())


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of a file.

    Attributes:
        place: where the file stands after it; its number is `place.lines`.
        content: the line without its end; empty where it is too long to be kept.
        event_id: its own, else one made from its content; None where it has none.
        item: what goes into a batch; None where it cannot.
        errors: why it cannot.
    """

    place: Place
    content: bytes
    event_id: str | None
    item: bytes | None
    errors: tuple[FieldError, ...] = ()


def read_lines(file: BinaryIO, place: Place) -> Iterator[EventLine]:
    """Read the lines of a file that stands at `place`; empty ones are passed over."""
    number, offset, digest = place.lines, place.offset, place.digest.copy()
    while piece := file.readline(BATCH_BYTES + 1):
        number += 1
        is_too_long = len(piece) > BATCH_BYTES
        content = b"" if is_too_long else piece.strip()
        while True:
            offset += len(piece)
            digest.update(piece)
            # Of a line that is too long the rest is only counted.
            if not is_too_long or piece.endswith(b"\n"):
                break
            piece = file.readline(_CHUNK_BYTES)
            if not piece:
                break
        if number == 1:
            content = content.removeprefix(_BYTE_ORDER_MARK)
        if content or is_too_long:
            yield _read_line(Place(number, offset, digest.copy()), content)


def gather_batches(lines: Iterable[EventLine]) -> Iterator[list[EventLine]]:
    """Put lines together, in order, as many as one request takes; those without item count too."""
    batch: list[EventLine] = []
    size = 0
    for line in lines:
        line_size = len(line.item or line.content) + 1
        if batch and (len(batch) == MAXIMUM_BATCH_EVENTS or size + line_size > _ROOM_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line_size
    if batch:
        yield batch


def write_batch(items: Sequence[bytes]) -> bytes:
    """Give the body of a batch."""
    return b"%b%b%b" % (_HEAD, b",".join(items), _TAIL)


def _read_line(place: Place, content: bytes) -> EventLine:
    if not content:
        return EventLine(place, content, None, None, (_TOO_LONG,))
    try:
        document = read_json(content)
        if not isinstance(document, dict):
            raise InputInvalid([FieldError("", "must be an object")])
        event_id, item = _name_event(document, content)
    except InputInvalid as error:
        return EventLine(place, content, None, None, error.errors)
    if len(item) > _ROOM_BYTES:
        return EventLine(place, b"", event_id, None, (_TOO_LONG,))
    return EventLine(place, content, event_id, item)


def _name_event(document: dict[str, object], content: bytes) -> tuple[str | None, bytes]:
    """Give the id of an event, and the event with it.

    One that has none gets one from what it says, so that the same line is the same event however
    often it is sent. The line itself is sent as it stands: writing it anew could change it.
    """
    if "id" in document:
        given = document["id"]
        return given if isinstance(given, str) else None, content
    said = {name: document[name] for name in ("type", "timestamp", "data") if name in document}
    event_id = f"evt_{digest_document(said).hex()[:32]}"
    rest = content[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return event_id, b'{"id":"%b"%b%b' % (event_id.encode(), comma, rest)
