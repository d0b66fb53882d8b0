"""`python -m benchmarks`: measure, show a table, and write it as JSON to .local/bench/."""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Measurement
from benchmarks.lookups import measure_lookups
from benchmarks.machine import describe_machine, split_processors
from benchmarks.receiving import measure_receiving
from benchmarks.replicas import measure_replicas
from benchmarks.scene import Scene

_FOLDER = Path(__file__).parents[1] / ".local" / "bench"
_NAMES = ("receiving", "lookups", "replicas")
_console = Console(soft_wrap=True, highlight=False)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="receiving, lookups, replicas; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: to try it.")] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each contender runs.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long each time.")] = None,
) -> None:
    """Measure the relay against what runs beside it in the same minutes."""
    chosen = names or list(_NAMES)
    if unknown := set(chosen) - set(_NAMES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not a benchmark")
    machine = describe_machine()
    servers, load = split_processors()
    # Whatever is started from here runs there; the load moves to its own.
    os.sched_setaffinity(0, servers)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=_FOLDER) as folder:
        scene = Scene(
            folder=Path(folder),
            cache=_FOLDER,
            load_processor=load,
            rounds=rounds or (3 if quick else 7),
            seconds=seconds or (1.0 if quick else 5.0),
            stored_events=100_000 if quick else 1_000_000,
            stored_entities=10_000 if quick else 100_000,
            report=lambda sentence: _console.print(f"[dim]{sentence}[/]"),
        )
        measurements = [found for name in chosen for found in _measure(name, scene)]
    _show(machine, measurements)
    _write(machine, scene, measurements)


def _measure(name: str, scene: Scene) -> list[Measurement]:
    match name:
        case "receiving":
            return [measure_receiving(scene)]
        case "replicas":
            return [measure_replicas(scene)]
        case _:
            return measure_lookups(scene)


def _show(machine: dict[str, str], measurements: list[Measurement]) -> None:
    for measurement in measurements:
        table = Table(title=measurement.name, caption=measurement.setting, min_width=76)
        for column in ("figure", "median", "lowest", "highest", "unit"):
            is_number = column in ("median", "lowest", "highest")
            table.add_column(column, justify="right" if is_number else "left")
        for figure in measurement.figures:
            lowest, highest = min(figure.values), max(figure.values)
            numbers = (_write_number(figure, value) for value in (figure.median, lowest, highest))
            table.add_row(figure.name, *numbers, figure.unit)
        _console.print(table, soft_wrap=False)
    _console.print("; ".join(f"{name} {value}" for name, value in machine.items()), style="dim")


def _write_number(figure: Figure, value: float) -> str:
    return f"{value:,.0f}" if figure.unit.endswith("/s") else f"{value:.2f}"


def _write(machine: dict[str, str], scene: Scene, measurements: list[Measurement]) -> None:
    now = datetime.now(UTC)
    document: dict[str, Any] = {
        "measured_at": now.isoformat(),
        "machine": machine,
        "rounds": scene.rounds,
        "seconds": scene.seconds,
        "measurements": [measurement.document() for measurement in measurements],
    }
    path = _FOLDER / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    _console.print(
        f"Written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
    )


if __name__ == "__main__":
    typer.run(main)
