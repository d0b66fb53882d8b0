"""What a person reads: a table for each measurement, and one for the targets."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Measurement
from benchmarks.targets import Verdict

console: Final = Console(highlight=False)
_WIDTH: Final = 100
_QUIET: Final = 0.5


def show_machine(machine: Mapping[str, str]) -> None:
    """Say what the figures are of."""
    console.print("; ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    if float(machine["load average at the start"]) > _QUIET:
        console.print("[yellow]Something else is running: close it, or run this again.[/]")


def show_measurement(measurement: Measurement) -> None:
    """Show the figures of a measurement, with how far they were spread."""
    table = _make_table(measurement.name, measurement.setting)
    table.add_column("figure", ratio=1)
    for column in ("median", "lowest", "highest"):
        table.add_column(column, justify="right", style="dim" if column != "median" else "")
    table.add_column("unit")
    for figure in measurement.figures:
        values = (figure.median, min(figure.values), max(figure.values))
        is_ratio = figure.unit == "ratio"
        numbers = [write_number(value) for value in values]
        table.add_row(figure.name, *numbers, figure.unit, style="bold" if is_ratio else "")
    console.print(table)


def show_verdicts(verdicts: Sequence[Verdict], *, is_quick: bool) -> None:
    """Show which targets were reached."""
    if not verdicts:
        return
    caption = "By the median of each figure; machines differ, so none of them fails the run."
    if is_quick:
        caption = "One short round: to see that it runs, not to judge by."
    table = _make_table("Targets", caption)
    table.add_column("target", ratio=1)
    table.add_column("wanted", justify="right")
    table.add_column("seen", justify="right")
    table.add_column("reached", justify="center")
    for verdict in verdicts:
        unit = _write_unit(verdict.figure)
        table.add_row(
            verdict.target.what,
            f"{verdict.target.bound} {verdict.target.value:g}{unit}",
            f"{write_number(verdict.figure.median)}{unit}",
            "[green]yes[/]" if verdict.is_reached else "[bold red]NO[/]",
        )
    console.print(table)


def write_number(value: float) -> str:
    """Write three digits of it, or all before the point."""
    size = abs(value)
    return f"{value:,.{2 if size < 10 else 1 if size < 100 else 0}f}"


def _write_unit(figure: Figure) -> str:
    return " times" if figure.unit == "ratio" else f" {figure.unit}"


def _make_table(title: str, caption: str) -> Table:
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        width=min(console.width, _WIDTH),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
