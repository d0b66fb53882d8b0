"""Cursors of listings: opaque to callers, and valid for one listing with its filters only."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from app.domain.entities import EntityKey
from app.domain.errors import FieldError, InputInvalid

# No more digits than a 64-bit integer of the store can hold.
_CURSOR: Final = re.compile(
    r"(?P<numbers>-?\d{1,18}(\.-?\d{1,18})*)\.(?P<digest>[0-9a-f]{12})", re.ASCII
)
_KEY_CURSOR: Final = re.compile(r"(?P<key>[0-9a-f/-]{36,73})\.(?P<digest>[0-9a-f]{12})", re.ASCII)


def write_cursor(position: Sequence[int], listing: str) -> str:
    """Write a cursor."""
    numbers = ".".join(map(str, position))
    return f"{numbers}.{_digest(numbers, listing)}"


def read_cursor(cursor: str, listing: str, *, length: int) -> tuple[int, ...]:
    """Read a cursor of the same listing into a position of `length` numbers.

    Raises:
        InputInvalid: it belongs to another listing, or was altered.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is not None and match["digest"] == _digest(match["numbers"], listing):
        position = tuple(int(number) for number in match["numbers"].split("."))
        if len(position) == length:
            return position
    raise _make_error()


def write_key_cursor(key: EntityKey, listing: str) -> str:
    """Write a cursor of a listing in the order of keys; `key` is the last one of the page."""
    return f"{key}.{_digest(key, listing)}"


def read_key_cursor(cursor: str, listing: str) -> EntityKey:
    """Read a cursor of the same listing into the last key of its page.

    Raises:
        InputInvalid: it belongs to another listing, or was altered.
    """
    match = _KEY_CURSOR.fullmatch(cursor)
    if match is not None and match["digest"] == _digest(match["key"], listing):
        return EntityKey(match["key"])
    raise _make_error()


def _make_error() -> InputInvalid:
    return InputInvalid(
        [FieldError("/query/cursor", "must be the next_cursor of this listing with these filters")]
    )


def _digest(position: str, listing: str) -> str:
    return hashlib.sha256(f"{position} {listing}".encode()).hexdigest()[:12]
