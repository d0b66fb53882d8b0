"""Figures: contenders alternate, and ratios are computed round by round."""

from benchmarks.figures import Measurement, run_in_turn


def test_run_in_turn_with_two_contenders_turns_the_order_round() -> None:
    ran: list[str] = []

    run_in_turn({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 3)

    assert "".join(ran) == "ba" + "ab" + "ba" + "ab"


def test_run_in_turn_does_not_count_the_first_round() -> None:
    numbers = iter(range(100))

    seen = run_in_turn({"a": lambda: next(numbers)}, 3)

    assert seen == {"a": [1, 2, 3]}


def test_run_in_turn_without_warm_up_counts_every_round() -> None:
    numbers = iter(range(100))

    seen = run_in_turn({"a": lambda: next(numbers)}, 2, warm_up=False)

    assert seen == {"a": [0, 1]}
    assert next(numbers) == 2


def test_ratio_of_two_contenders_is_made_round_by_round() -> None:
    measurement = Measurement("Something", "somewhere")

    measurement.add_ratio("a / b", [10.0, 40.0, 30.0], [10.0, 20.0, 10.0])

    figure = measurement.find("a / b")
    assert figure.values == (1.0, 2.0, 3.0)
    assert figure.median == 2.0
