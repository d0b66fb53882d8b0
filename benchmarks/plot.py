"""Drawing what was measured: `python -m benchmarks.plot RUN.json FOLDER`.

Needs matplotlib, which `uv sync --group bench` installs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import matplotlib as mpl
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

# 800 px of an SVG, whose points are 72 to the inch; a PNG has twice as many, for fine screens.
_WIDTH_INCHES: Final = 800 / 72
_PNG_DOTS: Final = 144
_ROW_INCHES: Final = 0.42
_AROUND_PANEL_INCHES: Final = 1.3
_ABOVE_PANEL_INCHES: Final = 0.6
# Of the width: names to the left of the axes, figures to their right.
_LABELS_SHARE: Final = 0.37
_FIGURES_SHARE: Final = 0.14
_MARGIN_SHARE: Final = 0.015
_TICKS: Final = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class _Theme:
    """Colours that people with any kind of colour vision tell apart (Okabe and Ito's)."""

    name: str
    paper: str
    ink: str
    faint: str
    strong: str
    weak: str


_THEMES: Final = (
    _Theme("light", "#ffffff", "#1f2328", "#d1d9e0", "#0072b2", "#d55e00"),
    _Theme("dark", "#0d1117", "#e6edf3", "#3d444d", "#56b4e9", "#e69f00"),
)

# Captions and places of the figures; a figure that a run has not measured is left out.
_RATIOS: Final = (
    (
        "receiving / bare FastAPI handler",
        "Receiving over 32 connections",
        "relay, Supabase away / bare FastAPI",
    ),
    (
        "… while writing to Supabase too",
        "Receiving over 32 connections",
        "relay / bare FastAPI",
    ),
    (
        "… into a large store / into an empty one",
        "Receiving into a large store",
        "large / new",
    ),
    (
        "… beside an operator's lookups / alone",
        "Receiving beside an operator",
        "while looking up / alone",
    ),
    (
        "two replicas on one PostgreSQL / one",
        "Replicas on one PostgreSQL",
        "two replicas / one",
    ),
    (
        "batches of 500 / single events",
        "Receiving batches",
        "batches / single events, one connection each",
    ),
    (
        "draining / a bare loop of the same requests",
        "Draining into the local Supabase",
        "relay / bare loop",
    ),
    (
        "… with Supabase 20 ms away",
        "Draining, Supabase 20 ms away",
        "relay / bare loop",
    ),
    (
        "draining / a request for each row",
        "Draining into the local Supabase",
        "relay / a request for each row",
    ),
)
_LAGS: Final = ("Lag, SQLite", "Lag, PostgreSQL", "Lag, behind a backlog")

_Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class _Lag:
    label: str
    p50: float
    p99: float


def write_plots(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw a run, for light and for dark pages, as SVG and as PNG, and give the files.

    The same run gives the same bytes.

    Raises:
        ValueError: the run has measured nothing that is drawn.
    """
    measured = {
        measurement["name"]: {figure["name"]: figure for figure in measurement["figures"]}
        for measurement in document["measurements"]
    }
    ratios, lags = list(_find_ratios(measured)), list(_find_lags(measured))
    if not ratios and not lags:
        raise ValueError("the run has measured nothing that is drawn")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for theme in _THEMES:
        with _dress(theme):
            canvas = _draw(ratios, lags, theme)
            for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                path = folder / f"performance-{theme.name}.{kind}"
                canvas.savefig(path, dpi=72 if kind == "svg" else _PNG_DOTS, metadata=metadata)
                paths.append(path)
    return paths


def _find_ratios(measured: Mapping[str, _Figures]) -> Iterator[_Row]:
    for label, name, figure_name in _RATIOS:
        figure = measured.get(name, {}).get(figure_name)
        if figure is not None:
            values = figure["values"]
            yield _Row(label, figure["median"], min(values), max(values))


def _find_lags(measured: Mapping[str, _Figures]) -> Iterator[_Lag]:
    for name in _LAGS:
        figures = measured.get(name, {})
        for p50 in figures:
            way, _, quantile = p50.rpartition(", ")
            p99 = figures.get(f"{way}, p99")
            if quantile == "p50" and p99 is not None:
                store = name.removeprefix("Lag, ")
                yield _Lag(f"{store}, {way}", figures[p50]["median"], p99["median"])


@contextmanager
def _dress(theme: _Theme) -> Iterator[None]:
    settings: dict[Any, Any] = {
        "axes.edgecolor": theme.faint,
        "axes.facecolor": theme.paper,
        "axes.labelcolor": theme.ink,
        "figure.facecolor": theme.paper,
        "font.family": "DejaVu Sans",
        "font.size": 12,
        "grid.color": theme.faint,
        # Without it the names of a file's parts would differ from run to run.
        "svg.hashsalt": "benchmarks",
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }
    with mpl.rc_context(settings):
        yield


def _draw(ratios: Sequence[_Row], lags: Sequence[_Lag], theme: _Theme) -> Canvas:
    panels = [len(rows) * _ROW_INCHES + _AROUND_PANEL_INCHES for rows in (ratios, lags) if rows]
    height = sum(panels)
    canvas = Canvas(figsize=(_WIDTH_INCHES, height))
    top = height
    for rows in (ratios, lags):
        if rows:
            rows_height = len(rows) * _ROW_INCHES
            bottom = top - _ABOVE_PANEL_INCHES - rows_height
            width = 1 - _LABELS_SHARE - _FIGURES_SHARE
            axes = canvas.add_axes((_LABELS_SHARE, bottom / height, width, rows_height / height))
            top -= rows_height + _AROUND_PANEL_INCHES
            if rows is ratios:
                _draw_ratios(axes, ratios, theme)
            else:
                _draw_lags(axes, lags, theme)
    return canvas


def _draw_ratios(axes: Axes, rows: Sequence[_Row], theme: _Theme) -> None:
    _prepare(axes, "How fast, against what ran in turn with it", [row.label for row in rows])
    axes.set_xscale("log")
    axes.axvline(1, color=theme.ink, linewidth=1.2, zorder=1)
    for place, row in enumerate(rows):
        axes.plot([row.lowest, row.highest], [place, place], color=theme.strong, linewidth=3)
        axes.plot(row.median, place, "o", color=theme.strong, markersize=9)
        _note(axes, place, f"{row.median:.0f}" if row.median >= 10 else f"{row.median:.2g}")
    lowest = min(0.5, *(row.lowest for row in rows)) / 1.15
    highest = max(2.0, *(row.highest for row in rows)) * 1.15
    axes.set_xticks([tick for tick in _TICKS if lowest <= tick <= highest])
    axes.minorticks_off()
    axes.set_xlim(lowest, highest)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("ratio of rates, logarithmic; lowest, median, highest")


def _draw_lags(axes: Axes, rows: Sequence[_Lag], theme: _Theme) -> None:
    _prepare(axes, "From a change to its row in Supabase", [row.label for row in rows])
    for place, row in enumerate(rows):
        axes.plot([row.p50, row.p99], [place, place], color=theme.faint, linewidth=3, zorder=1)
        axes.plot(row.p50, place, "o", color=theme.strong, markersize=9)
        axes.plot(row.p99, place, "D", color=theme.weak, markersize=8)
        _note(axes, place, f"{row.p50:.0f}, {row.p99:.0f} ms")
    axes.plot([], [], "o", color=theme.strong, markersize=9, label="p50")
    axes.plot([], [], "D", color=theme.weak, markersize=8, label="p99")
    axes.set_xlim(0, max(row.p99 for row in rows) * 1.05)
    axes.set_xlabel("milliseconds")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1.2,
    )


def _prepare(axes: Axes, title: str, labels: Sequence[str]) -> None:
    width = 1 - _LABELS_SHARE - _FIGURES_SHARE
    left = (_MARGIN_SHARE - _LABELS_SHARE) / width
    axes.set_title(title, loc="left", x=left, pad=12, fontweight="bold")
    axes.set_yticks([])
    for place, label in enumerate(labels):
        axes.text(left, place, label, transform=axes.get_yaxis_transform(), va="center_baseline")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(length=0, pad=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", linewidth=0.8)
    axes.set_axisbelow(True)


def _note(axes: Axes, place: int, text: str) -> None:
    right = 1 + (_FIGURES_SHARE - _MARGIN_SHARE) / (1 - _LABELS_SHARE - _FIGURES_SHARE)
    axes.text(
        right, place, text, transform=axes.get_yaxis_transform(), va="center_baseline", ha="right"
    )


def main(
    run: Annotated[Path, typer.Argument(help="What `make bench` has written.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")],
) -> None:
    """Draw a run."""
    for path in write_plots(json.loads(run.read_text()), folder):
        typer.echo(path)


if __name__ == "__main__":
    typer.run(main)
