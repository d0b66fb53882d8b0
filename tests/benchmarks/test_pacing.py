"""Pacing: what is due by when, and the quantiles of what came of it."""

import pytest

from benchmarks.pacing import Pace, pick_quantile


@pytest.mark.parametrize(
    ("seconds", "due"),
    [(-0.001, 0), (0.0, 1), (0.0049, 1), (0.0051, 2), (0.0101, 3), (1.99, 399), (60.0, 400)],
)
def test_pace_after_some_time_has_so_many_due(seconds: float, due: int) -> None:
    assert Pace(rate=200, seconds=2).count_due(seconds) == due


def test_pace_counts_as_due_all_that_are_due_by_their_times() -> None:
    pace = Pace(rate=1000, seconds=0.5)

    for milliseconds in range(600):
        # Half a step on, so that no rounding decides.
        now = (milliseconds + 0.5) / 1000
        due = [number for number in range(pace.count) if pace.due_after(number) <= now]
        assert pace.count_due(now) == len(due)


def test_pace_of_less_than_one_event_has_one() -> None:
    assert Pace(rate=0.1, seconds=1).count == 1


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0), (0.001, 1.0)]
)
def test_quantile_of_a_hundred_is_the_least_that_so_many_do_not_exceed(
    share: float, value: float
) -> None:
    assert pick_quantile([float(number) for number in range(1, 101)], share) == value


def test_quantile_of_one_value_is_that_value() -> None:
    assert pick_quantile([7.0], 0.99) == 7.0
