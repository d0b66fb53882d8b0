"""Files of events: NDJSON lines in, batches out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from app.domain.contract import MAXIMUM_BATCH_EVENTS
from app.domain.documents import digest_document, read_json
from app.domain.errors import FieldError, InputInvalid

BATCH_BYTES: Final = 1024 * 1024
"""The longest body that `POST /webhooks/batch` accepts."""

_HEAD: Final = b'{"events":['
_TAIL: Final = b"]}"
_ITEMS_BYTES: Final = BATCH_BYTES - len(_HEAD) - len(_TAIL)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TOO_LONG: Final = FieldError("", f"is longer than a batch may be ({BATCH_BYTES:,} bytes)")
# The relay reads a line inside of a batch, and its stack may be deeper.
_SPARE_LEVELS: Final = 100


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of a file.

    Attributes:
        number: counted from 1.
        event_id: the line's own, or one derived from its content; None if it has none.
        item: the event as it goes into a batch; None if it cannot.
        errors: why it cannot.
    """

    number: int
    content: bytes
    event_id: str | None = None
    item: bytes | None = None
    errors: tuple[FieldError, ...] = ()


def read_lines(file: BinaryIO) -> Iterator[EventLine]:
    """Read the lines of a file, except empty ones."""
    for number, line in enumerate(file, start=1):
        content = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
        if content:
            yield _read_line(number, content)


def gather_batches(lines: Iterable[EventLine]) -> Iterator[list[EventLine]]:
    """Group lines, in order, into batches that one request can carry."""
    batch: list[EventLine] = []
    size = 0
    for line in lines:
        line_size = len(line.item or b"") + 1
        if batch and (len(batch) == MAXIMUM_BATCH_EVENTS or size + line_size > _ITEMS_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line_size
    if batch:
        yield batch


def write_batch(items: Sequence[bytes]) -> bytes:
    """Return the body of a batch."""
    return b"%b%b%b" % (_HEAD, b",".join(items), _TAIL)


def _read_line(number: int, content: bytes) -> EventLine:
    try:
        document = read_json(content)
        read_json(b"[" * _SPARE_LEVELS + content + b"]" * _SPARE_LEVELS)
        if not isinstance(document, dict):
            raise InputInvalid([FieldError("", "must be an object")])
        event_id, item = _identify(document, content)
        if len(item) > _ITEMS_BYTES:
            raise InputInvalid([_TOO_LONG])
    except InputInvalid as error:
        return EventLine(number, content, errors=error.errors)
    return EventLine(number, content, event_id, item)


def _identify(document: dict[str, object], content: bytes) -> tuple[str | None, bytes]:
    """Return the id of an event, and the event with that id in it.

    An id is derived from the content if the line has none: sent twice, the line is one event. The
    line's own bytes are sent, as encoding it anew could change it.
    """
    if "id" in document:
        given = document["id"]
        return given if isinstance(given, str) else None, content
    event = {name: document[name] for name in ("type", "timestamp", "data") if name in document}
    event_id = f"evt_{digest_document(event).hex()[:32]}"
    rest = content[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return event_id, b'{"id":"%b"%b%b' % (event_id.encode(), comma, rest)
