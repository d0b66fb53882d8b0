"""Timestamps: compared with `datetime`, and rejected outside RFC 3339."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.instants import (
    Instant,
    after,
    from_seconds,
    parse_timestamp,
    seconds_between,
    to_datetime,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

moments = st.datetimes(timezones=st.just(UTC))
offsets = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m)))


@given(moments)
@example(FIRST)
@example(LAST)
@example(EPOCH - MICROSECOND)
def test_instant_converted_to_datetime_and_back_is_equal(moment: datetime) -> None:
    instant = parse_timestamp(moment.isoformat())
    assert instant == (moment - EPOCH) // MICROSECOND
    assert to_datetime(instant) == moment
    assert to_datetime(instant).utcoffset() == timedelta(0)


@given(st.datetimes(timezones=offsets))
def test_timestamp_with_any_offset_equals_datetimes_instant(moment: datetime) -> None:
    assert parse_timestamp(moment.isoformat()) == (moment - EPOCH) // MICROSECOND


@given(st.datetimes(timezones=offsets), st.datetimes(timezones=offsets))
def test_instants_sort_like_their_datetimes(one: datetime, other: datetime) -> None:
    instants = parse_timestamp(one.isoformat()), parse_timestamp(other.isoformat())
    assert (instants[0] < instants[1]) == (one < other)


@given(st.text("0123456789", min_size=1, max_size=9))
@example("999999999")
@example("0000009")
def test_timestamp_fraction_beyond_microseconds_is_cut(fraction: str) -> None:
    whole = parse_timestamp("2026-01-02T03:04:05Z")
    cut = int(f"{fraction}000000"[:6])
    assert parse_timestamp(f"2026-01-02T03:04:05.{fraction}Z") == whole + cut


@given(st.text("0123456789", min_size=1, max_size=9))
def test_timestamp_fraction_before_1970_counts_forward(fraction: str) -> None:
    whole = parse_timestamp("1969-12-31T23:59:58Z")
    assert whole <= parse_timestamp(f"1969-12-31T23:59:58.{fraction}Z") < whole + 1_000_000


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T05:30:00+05:30", 0),
        ("1969-12-31T16:00:00-08:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-01-02T03:04:05.678901Z", 1_767_323_045_678_901),
        ("2026-01-02T03:04:05.678901999Z", 1_767_323_045_678_901),
        ("2024-02-29T23:59:59+23:59", 1_709_164_859_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999),
    ],
)
def test_timestamp_of_each_form_is_parsed(text: str, instant: int) -> None:
    assert parse_timestamp(text) == instant


@pytest.mark.parametrize(
    ("text", "clamped"),
    [
        ("0001-01-01T00:00:00+00:01", FIRST),
        ("0001-01-01T00:00:00.000001+23:59", FIRST),
        ("9999-12-31T23:59:59-00:01", LAST),
        ("9999-12-31T23:59:59.999999-23:59", LAST),
    ],
)
def test_timestamp_beyond_the_calendar_is_clamped_when_shown(text: str, clamped: datetime) -> None:
    instant = parse_timestamp(text)
    assert not parse_timestamp(FIRST.isoformat()) <= instant <= parse_timestamp(LAST.isoformat())
    assert to_datetime(instant) == clamped


@pytest.mark.parametrize("instant", [10**18, -(10**18), 10**40, -(10**40)])
def test_datetime_of_an_instant_out_of_range_is_clamped(instant: int) -> None:
    assert to_datetime(Instant(instant)) == (FIRST if instant < 0 else LAST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "0",
        "1767323045",
        "2026-01-02",
        "03:04:05Z",
        "2026-01-02T03:04:05",  # naive
        "2026-01-02T03:04:05.678901",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03Z",
        "20260102T030405Z",
        "2026-1-2T3:4:5Z",
        "2026-W01-5T03:04:05Z",
        "2026-002T03:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.0123456789Z",  # ten digits
        "2026-01-02T03:04:05+01",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+23:60",
        "2026-01-02T03:04:05+01:00:00",
        "2026-01-02T03:04:05 Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "2026-01-02T03:04:05Z\x00",
        "2026-01-02T03:04:05ZZ",
        "2026-00-02T03:04:05Z",
        "2026-13-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:61Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "\u0662026-01-02T03:04:05Z",  # digits of other scripts
        "2026-01-02T03:04:0\uff15Z",
        "\ud800",
    ],
)
def test_timestamp_not_in_rfc_3339_is_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - datetime words some of them
        parse_timestamp(text)


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?[Z+-].{0,6}"))
def test_timestamp_of_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        instant = parse_timestamp(text)
    except ValueError:
        return
    assert FIRST <= to_datetime(instant) <= LAST


@pytest.mark.parametrize(
    ("seconds", "instant"),
    [(0.0, 0), (1.5, 1_500_000), (-1.5, -1_500_000), (1_767_323_045.678901, 1_767_323_045_678_901)],
)
def test_unix_seconds_are_rounded_to_the_nearest_instant(seconds: float, instant: int) -> None:
    assert from_seconds(seconds) == instant


@given(
    st.datetimes(
        EPOCH.replace(tzinfo=None), LAST.replace(year=2199, tzinfo=None), timezones=st.just(UTC)
    )
)
def test_unix_seconds_of_current_centuries_keep_microseconds(moment: datetime) -> None:
    assert abs(from_seconds(moment.timestamp()) - (moment - EPOCH) // MICROSECOND) <= 1


@given(st.integers(-(10**17), 10**17), st.integers(-(10**9), 10**9))
def test_seconds_between_two_instants_are_the_seconds_added(
    instant: int, milliseconds: int
) -> None:
    seconds = milliseconds / 1000
    assert seconds_between(Instant(instant), after(Instant(instant), seconds)) == seconds
