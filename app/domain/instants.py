"""Instants: whole microseconds since 1970-01-01T00:00:00Z; RFC 3339 as text.

A plain integer sorts, indexes and compares alike in Python, SQLite and PostgreSQL.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import NewType

Instant = NewType("Instant", int)
"""Microseconds since 1970-01-01T00:00:00Z; negative before."""

MICROSECONDS_PER_SECOND = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
# RFC 3339 section 5.6, with up to nine fractional digits because Go prints nanoseconds.
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,9})?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def parse_timestamp(text: str) -> Instant:
    """Read an RFC 3339 date-time with an offset.

    Digits beyond microseconds are cut, not rounded: rounding could move an event past a later one.

    Raises:
        ValueError: not RFC 3339, no offset, or no existing date.
    """
    if _RFC3339.fullmatch(text) is None:
        raise ValueError("not an RFC 3339 date-time with an offset")
    # fromisoformat accepts Z, but not z.
    since = datetime.fromisoformat(text.upper()) - _EPOCH
    seconds = since.days * _SECONDS_PER_DAY + since.seconds
    return Instant(seconds * MICROSECONDS_PER_SECOND + since.microseconds)


def to_datetime(instant: Instant) -> datetime:
    """Convert an instant to an aware datetime in UTC."""
    try:
        return _EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        # An offset can move 0001-01-01 or 9999-12-31 a day out of the range of datetime.
        return _FIRST if instant < 0 else _LAST


def from_seconds(seconds: float) -> Instant:
    """Convert Unix seconds to an instant."""
    return Instant(round(seconds * MICROSECONDS_PER_SECOND))


def after(instant: Instant, seconds: float) -> Instant:
    """Return the instant that many seconds later."""
    return Instant(instant + round(seconds * MICROSECONDS_PER_SECOND))


def seconds_between(earlier: Instant, later: Instant) -> float:
    """Return the seconds from one instant to another."""
    return (later - earlier) / MICROSECONDS_PER_SECOND
