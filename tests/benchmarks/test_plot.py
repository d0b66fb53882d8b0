"""Drawing a run: the same picture for the same figures."""

from pathlib import Path
from typing import Any

import pytest

# matplotlib comes with the group `bench` only.
plot = pytest.importorskip("benchmarks.plot")


def _write_run(**figures: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "measurements": [
            {
                "name": name,
                "figures": [
                    {"name": figure, "median": values[0], "values": values}
                    for figure, values in measured.items()
                ],
            }
            for name, measured in figures.items()
        ]
    }


RUN = _write_run(
    **{
        "Receiving batches": {"batches / single events, one connection each": [12.0, 9.0, 15.0]},
        "Lag, SQLite": {"200/s, p50": [8.0], "200/s, p99": [34.0]},
    }
)


def test_plots_of_one_run_are_the_same_bytes_for_both_themes(tmp_path: Path) -> None:
    first = plot.write_plots(RUN, tmp_path / "first")
    second = plot.write_plots(RUN, tmp_path / "second")
    assert sorted(path.name for path in first) == [
        f"performance-{theme}.{kind}" for theme in ("dark", "light") for kind in ("png", "svg")
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", ["Receiving batches", "Lag, SQLite"])
def test_plots_of_a_run_with_one_part_show_that_part(tmp_path: Path, name: str) -> None:
    part = {"measurements": [one for one in RUN["measurements"] if one["name"] == name]}
    light = plot.write_plots(part, tmp_path)[0].read_bytes()
    assert light != plot.write_plots(RUN, tmp_path / "whole")[0].read_bytes()


def test_plots_of_a_run_with_nothing_to_draw_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing that is drawn"):
        plot.write_plots(_write_run(Starting={"relay": [1.0]}), tmp_path)
