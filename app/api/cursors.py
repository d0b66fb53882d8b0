"""Cursors of listings: opaque to callers, and valid for one listing with its filters only."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from app.domain.errors import FieldError, InputInvalid

# No more digits than a 64-bit integer of the store can hold.
_CURSOR: Final = re.compile(
    r"(?P<numbers>-?\d{1,18}(\.-?\d{1,18})*)\.(?P<digest>[0-9a-f]{12})", re.ASCII
)


def write_cursor(position: Sequence[int], listing: str) -> str:
    """Write a cursor.

    Args:
        position: in the listing.
        listing: names the listing and its filters.
    """
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
    raise InputInvalid(
        [FieldError("/query/cursor", "must be the next_cursor of this listing with these filters")]
    )


def _digest(numbers: str, listing: str) -> str:
    return hashlib.sha256(f"{numbers} {listing}".encode()).hexdigest()[:12]
