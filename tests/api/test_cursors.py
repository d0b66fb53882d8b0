"""A cursor is valid in its own listing only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursors import read_cursor, read_key_cursor, write_cursor, write_key_cursor
from app.domain.entities import EntityKey, membership_key
from app.domain.errors import InputInvalid
from app.domain.history import EventCursor
from app.domain.instants import Instant

LISTING = 'events {"status": "dead"}'
numbers = st.integers(-(10**18) + 1, 10**18 - 1)


def assert_refused(cursor: str, listing: str = LISTING, *, count: int = 2) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_cursor(cursor, listing, length=count)
    (error,) = caught.value.errors
    assert error.pointer == "/query/cursor"
    assert error.detail


@given(place=st.tuples(numbers, numbers), listing=st.text(max_size=20))
def test_cursor_leads_back_to_its_position(place: tuple[int, int], listing: str) -> None:
    cursor = write_cursor(place, listing)
    assert read_cursor(cursor, listing, length=2) == place
    assert cursor.isascii()
    assert set(cursor) <= set("abcdef0123456789-.")


def test_cursor_of_a_position_is_that_of_its_numbers() -> None:
    position = EventCursor(Instant(5), 7)
    assert write_cursor(position, LISTING) == write_cursor((5, 7), LISTING)


@given(place=st.tuples(numbers, numbers), other=st.text(max_size=20))
def test_cursor_of_another_listing_is_rejected(place: tuple[int, int], other: str) -> None:
    if other != LISTING:
        assert_refused(write_cursor(place, other))


def test_cursor_of_fewer_or_more_numbers_is_rejected() -> None:
    for place in ((), (1,), (1, 2, 3)):
        assert_refused(write_cursor(place, LISTING))


@given(place=st.tuples(numbers, numbers), at=st.integers(0, 1), by=st.integers(1, 9))
def test_cursor_that_was_altered_is_rejected(place: tuple[int, int], at: int, by: int) -> None:
    parts = write_cursor(place, LISTING).split(".")
    parts[at] = str(place[at] + by)
    assert_refused(".".join(parts))


@given(cursor=st.text(max_size=60))
def test_cursor_of_any_text_is_rejected(cursor: str) -> None:
    assert_refused(cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        ".",
        "A" * 100_000,
        "9" * 100_000,
        "1.2.",
        "\u00e9\u4e2d\U0001f600",
        "\u0661.\u0662.000000000000",
        "\ud800",
        "\x00",
        " " + write_cursor((1, 2), LISTING),
        write_cursor((1, 2), LISTING) + "\n",
        write_cursor((1, 2), LISTING)[:-1],
    ],
    ids=lambda cursor: repr(cursor[:20]),
)
def test_cursor_that_is_malformed_is_rejected(cursor: str) -> None:
    assert_refused(cursor)


def test_cursor_beyond_64_bits_is_rejected() -> None:
    assert_refused(write_cursor((2**63, 1), LISTING))
    assert_refused(write_cursor((1, -(2**63)), LISTING))


USER, TRIP = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))


@pytest.mark.parametrize("key", [EntityKey(USER), membership_key(TRIP, USER)])
def test_cursor_of_a_key_leads_back_to_it(key: EntityKey) -> None:
    assert read_key_cursor(write_key_cursor(key, LISTING), LISTING) == key


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        write_cursor((1, 2), LISTING),
        write_key_cursor(EntityKey(USER), "another listing"),
        write_key_cursor(EntityKey(USER), LISTING).replace(USER, TRIP),
        write_key_cursor(EntityKey(USER), LISTING) + "\n",
        write_key_cursor(EntityKey("\x00" * 36), LISTING),
    ],
    ids=ascii,
)
def test_cursor_of_a_key_that_is_foreign_or_altered_is_rejected(cursor: str) -> None:
    with pytest.raises(InputInvalid):
        read_key_cursor(cursor, LISTING)
