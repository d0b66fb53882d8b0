"""Targets: reached or not, by the median."""

import pytest

from benchmarks.figures import Measurement
from benchmarks.targets import Bound, Target, judge


def make_measurement(*values: float) -> Measurement:
    measurement = Measurement("Something", "somewhere")
    measurement.add("a figure", "ms", values)
    return measurement


def make_target(bound: Bound, figure: str = "a figure") -> Target:
    return Target("something", "Something", figure, bound, 10)


@pytest.mark.parametrize(
    ("bound", "median", "is_reached"),
    [
        (Bound.AT_LEAST, 10.0, True),
        (Bound.AT_LEAST, 9.99, False),
        (Bound.BELOW, 9.99, True),
        (Bound.BELOW, 10.0, False),
    ],
)
def test_target_at_its_bound_is_judged_by_its_direction(
    bound: Bound, median: float, is_reached: bool
) -> None:
    (verdict,) = judge([make_measurement(0.0, median, 1000.0)], [make_target(bound)])

    assert verdict.is_reached is is_reached


def test_target_of_what_was_not_measured_is_not_judged() -> None:
    assert judge([], [make_target(Bound.BELOW)]) == []


def test_target_of_a_figure_that_is_missing_fails() -> None:
    with pytest.raises(KeyError, match="another figure"):
        judge([make_measurement(1.0)], [make_target(Bound.BELOW, "another figure")])
