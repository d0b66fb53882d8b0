"""How many entities a request may hold after failures and successes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.relay.claim_policy import RequestLimit

limits = st.builds(
    lambda maximum, growth: RequestLimit(maximum, growth=growth),
    st.integers(1, 1_000),
    st.sampled_from([0, 10]),
)
# How full the request is, and whether it succeeds.
requests = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=300)


def send(limit: RequestLimit, fullness: float, succeeds: bool) -> int | None:
    """Send a request up to the limit; return the size of the pieces if it failed."""
    size = max(1, round(limit.value * fullness))
    if succeeds:
        limit.record_success(size)
        return None
    return limit.record_failure(size)


def drain(rows: int, fits: Callable[[int], bool], limit: RequestLimit) -> tuple[int, int]:
    """Send requests until no row is left; return the numbers of requests and of failures."""
    count = failed = 0
    while rows > 0:
        size = min(rows, limit.value)
        count += 1
        if fits(size):
            limit.record_success(size)
            rows -= size
        else:
            limit.record_failure(size)
            failed += 1
    return count, failed


@given(limits, requests)
def test_limit_is_never_zero_and_never_above_its_maximum(
    limit: RequestLimit, sent: list[tuple[float, bool]]
) -> None:
    maximum = limit.value
    for fullness, succeeds in sent:
        pieces = send(limit, fullness, succeeds)
        assert 1 <= limit.value <= maximum
        assert pieces is None or 1 <= pieces <= maximum


@given(limits, requests, st.integers(2, 1_000))
def test_limit_is_smaller_than_a_request_that_failed(
    limit: RequestLimit, sent: list[tuple[float, bool]], size: int
) -> None:
    for fullness, succeeds in sent:
        send(limit, fullness, succeeds)
    pieces = limit.record_failure(size)
    assert pieces < size
    assert limit.value < size


def test_limit_of_100_rows_per_request_is_found_with_few_failures() -> None:
    count, failed = drain(2_400, lambda size: size <= 100, RequestLimit(500))
    assert failed <= 6
    assert count <= 80


def test_limit_is_the_maximum_again_once_requests_of_any_size_succeed() -> None:
    limit = RequestLimit(500)
    for size in (500, 20, 2):
        limit.record_failure(size)
    assert limit.value == 1
    for _ in range(50):
        limit.record_success(limit.value)
    assert limit.value == 500


def test_limit_is_not_raised_by_requests_that_were_not_full() -> None:
    limit = RequestLimit(500)
    limit.record_failure(500)
    lowered = limit.value
    for _ in range(1_000):
        limit.record_success(lowered - 1)
    assert limit.value == lowered


def test_request_of_500_is_narrowed_down_to_one_in_two_splits() -> None:
    limit = RequestLimit(500)
    pieces = limit.record_failure(500)
    assert pieces <= 24
    assert limit.record_failure(pieces) == 1


@pytest.mark.parametrize("size", [1, 2, 500])
def test_deletes_are_sent_one_at_a_time_after_a_failure(size: int) -> None:
    limit = RequestLimit(500, growth=0)
    assert limit.record_failure(size) == 1
    assert limit.value == 1
