"""Reading a snapshot from an NDJSON file: its time on the first line, then one row a line."""

from pathlib import Path
from typing import Any, BinaryIO, Final

from app.cli.errors import Rejected
from app.cli.source.rows import RowCollector
from app.cli.source.snapshot import Snapshot
from app.domain.contract import EARLIEST_TIMESTAMP, MAXIMUM_AHEAD_SECONDS
from app.domain.documents import read_json
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid, FieldError, InputInvalid
from app.domain.event_reader import EventReader
from app.domain.instants import Instant, after, parse_timestamp

_LINE_BYTES: Final = 1024 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FORM: Final = 'must be {"kind": "user", "trip" or "membership", "data": {…}}'


def read_snapshot_file(
    path: Path, snapshot: Snapshot, reader: EventReader, *, now: Instant
) -> None:
    """Read a file into a snapshot.

    Raises:
        ConfigurationInvalid: it cannot be read.
        Rejected: a line is invalid, or stands there twice.
    """
    try:
        with path.open("rb") as file:
            snapshot.at = _read_time(file, path, now)
            rows = RowCollector(snapshot, reader)
            for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES), b""), start=2):
                if line.strip():
                    _add_line(rows, f"line {number}", line)
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be read: {error.strerror}") from error
    rows.raise_errors(str(path))


def _read_time(file: BinaryIO, path: Path, now: Instant) -> Instant:
    line = file.readline(_LINE_BYTES).removeprefix(_BYTE_ORDER_MARK)
    try:
        document = read_json(line)
        if not isinstance(document, dict) or document.keys() != {"snapshot_at"}:
            raise ValueError
        at = parse_timestamp(str(document["snapshot_at"]))
    except (InputInvalid, ValueError) as error:
        raise Rejected(
            f'line 1 of {path} must be {{"snapshot_at": "2026-01-02T03:04:05Z"}}: the time up to'
            " which the file has every change, with an offset"
        ) from error
    if not EARLIEST_TIMESTAMP <= at <= after(now, MAXIMUM_AHEAD_SECONDS):
        raise Rejected(
            f"line 1 of {path}: snapshot_at is in the future, or before 2000-01-01T00:00:00Z"
        )
    return at


def _add_line(rows: RowCollector, place: str, line: bytes) -> None:
    try:
        document: Any = read_json(line)
    except InputInvalid as error:
        rows.report(place, error.errors)
        return
    match document:
        case {"kind": str(kind), "data": sent} if kind in set(Kind) and len(document) == 2:
            rows.add(place, Kind(kind), sent)
        case _:
            rows.report(place, [FieldError("", _FORM)])
