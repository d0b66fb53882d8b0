"""Cursors: where a listing goes on, opaque to the caller and good for that listing alone."""

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Final

from app.domain.errors import FieldError, InputInvalid

_LARGEST: Final = 2**63 - 1
_DIGEST_BYTES: Final = 6


def write_cursor(place: tuple[int, ...], listing: str) -> str:
    """Write a place in a listing.

    Args:
        place: whole numbers of 64 bits.
        listing: names the listing and its criteria.
    """
    document = json.dumps([*place, _digest(place, listing)], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, listing: str, numbers: int) -> tuple[int, ...]:
    """Read what `write_cursor` has written for the same listing.

    Raises:
        InputInvalid: it is of another listing, of none, or was altered.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        *place, digest = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        is_ours = digest == _digest(place, listing) and len(place) == numbers
    except (ValueError, TypeError, RecursionError):
        is_ours = False
    if not is_ours or not all(type(number) is int and abs(number) <= _LARGEST for number in place):
        raise InputInvalid(
            [FieldError("/query/cursor", "is not a next_cursor of this listing and its filters")]
        )
    return tuple(place)


def _digest(place: Iterable[int], listing: str) -> str:
    return hashlib.sha256(f"{[*place]} {listing}".encode()).hexdigest()[: 2 * _DIGEST_BYTES]
