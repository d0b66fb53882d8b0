"""A cursor leads on in its own listing, and nowhere else."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursors import read_cursor, write_cursor
from app.domain.errors import InputInvalid
from app.domain.history import EventCursor
from app.domain.instants import Instant

LISTING = 'events {"status": "dead"}'
numbers = st.integers(-(2**63) + 1, 2**63 - 1)


def encode(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def decode(cursor: str) -> list[object]:
    document: list[object] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return document


def assert_refused(cursor: str, listing: str = LISTING, *, count: int = 2) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_cursor(cursor, listing, numbers=count)
    (error,) = caught.value.errors
    assert error.pointer == "/query/cursor"
    assert error.detail


@given(place=st.tuples(numbers, numbers), listing=st.text(max_size=20))
def test_cursor_leads_back_to_the_place_it_was_written_for(
    place: tuple[int, int], listing: str
) -> None:
    cursor = write_cursor(place, listing)
    assert read_cursor(cursor, listing, numbers=2) == place
    assert cursor.isascii()
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_cursor_of_a_position_is_that_of_its_numbers() -> None:
    position = EventCursor(Instant(5), 7)
    assert write_cursor(position, LISTING) == write_cursor((5, 7), LISTING)


@given(place=st.tuples(numbers, numbers), other=st.text(max_size=20))
def test_cursor_of_another_listing_is_refused(place: tuple[int, int], other: str) -> None:
    if other != LISTING:
        assert_refused(write_cursor(place, other))


def test_cursor_of_fewer_or_more_numbers_is_refused() -> None:
    for place in ((), (1,), (1, 2, 3)):
        assert_refused(write_cursor(place, LISTING))


@given(place=st.tuples(numbers, numbers), at=st.integers(0, 1), by=st.integers(1, 2**62))
def test_cursor_that_was_altered_is_refused(place: tuple[int, int], at: int, by: int) -> None:
    document = decode(write_cursor(place, LISTING))
    document[at] = place[at] + by
    assert_refused(encode(document))


@given(cursor=st.text(max_size=60))
def test_cursor_from_nowhere_is_refused(cursor: str) -> None:
    assert_refused(cursor)


@given(
    document=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_cursor_of_any_other_document_is_refused(document: object) -> None:
    assert_refused(encode(document))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "A" * 100_000,
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"[1," + b"9" * 5000 + b',"x"]').decode(),
        base64.urlsafe_b64encode(b'[NaN,1e999,"x"]').decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        "\u00e9\u4e2d\U0001f600",
        "\ud800",
        "\x00",
        " " + write_cursor((1, 2), LISTING),
        write_cursor((1, 2), LISTING) + "\n",
        write_cursor((1, 2), LISTING)[:-1],
    ],
    ids=lambda cursor: repr(cursor[:20]),
)
def test_cursor_of_an_odd_form_is_refused(cursor: str) -> None:
    assert_refused(cursor)


def test_cursor_past_what_a_store_can_hold_is_refused() -> None:
    assert_refused(write_cursor((2**63, 1), LISTING))
    assert_refused(write_cursor((1, -(2**63)), LISTING))


def test_cursor_of_something_like_a_number_is_refused() -> None:
    for number in (True, 1.0, "1", None):
        listing = "events {}"
        place = (number, 2)
        assert_refused(write_cursor(place, listing), listing)  # type: ignore[arg-type]
