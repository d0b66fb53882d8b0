"""`python -m benchmarks`: measure, show tables, and write all of it as JSON to .local/bench/."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.batches import measure_batches
from benchmarks.draining import measure_draining
from benchmarks.drift import measure_drift
from benchmarks.fan_out import measure_fan_out
from benchmarks.figures import Measurement
from benchmarks.growth import measure_growth
from benchmarks.lag import measure_lag
from benchmarks.lookups import measure_lookups
from benchmarks.machine import describe_machine, split_processors
from benchmarks.receiving import measure_receiving
from benchmarks.replicas import measure_replicas
from benchmarks.scene import Scene
from benchmarks.starting import measure_starting
from benchmarks.tables import console, show_machine, show_measurement, show_verdicts
from benchmarks.targets import TARGETS, judge

_FOLDER: Final = Path(__file__).parents[1] / ".local" / "bench"
_BENCHMARKS: Final[Mapping[str, Callable[[Scene], list[Measurement]]]] = {
    "receiving": measure_receiving,
    "batches": measure_batches,
    "lag": measure_lag,
    "draining": measure_draining,
    "lookups": measure_lookups,
    "replicas": measure_replicas,
    "drift": measure_drift,
    "fan_out": measure_fan_out,
    "growth": measure_growth,
    "starting": measure_starting,
}


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"{', '.join(_BENCHMARKS)}; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: to try it.")] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each contender runs.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long each time.")] = None,
) -> None:
    """Measure the relay against what runs beside it in the same minutes."""
    chosen = names or list(_BENCHMARKS)
    if unknown := set(chosen) - set(_BENCHMARKS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not a benchmark")
    started = time.monotonic()
    machine = describe_machine()
    show_machine(machine)
    servers, load = split_processors()
    # Processes started from here run there; the load moves to its own processor.
    os.sched_setaffinity(0, servers)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=_FOLDER) as folder:
        scene = Scene(
            folder=Path(folder),
            cache=_FOLDER,
            load_processor=load,
            two_processors=frozenset({min(servers), load}),
            rounds=rounds or (1 if quick else 4),
            seconds=seconds or (0.5 if quick else 1.0),
            is_quick=quick,
            stored_events=100_000 if quick else 1_000_000,
            stored_entities=10_000 if quick else 100_000,
            backlog_entities=10_000 if quick else 100_000,
            report=lambda sentence: console.print(f"[dim]{sentence} …[/]"),
        )
        for name in chosen:
            for measurement in _BENCHMARKS[name](scene):
                measurements.append(measurement)
                show_measurement(measurement)
    verdicts = judge(measurements, TARGETS)
    show_verdicts(verdicts, is_quick=quick)
    document: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(),
        "took_seconds": round(time.monotonic() - started, 1),
        "machine": machine,
        "is_quick": quick,
        "rounds": scene.rounds,
        "seconds": scene.seconds,
        "measurements": [measurement.document() for measurement in measurements],
        "targets": [verdict.document() for verdict in verdicts],
    }
    path = _FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"It took {document['took_seconds']:.0f} s; written to {_shorten(path)}")
    _draw(document, path.with_suffix(""))


def _draw(document: dict[str, Any], folder: Path) -> None:
    if find_spec("matplotlib") is None:
        console.print("`uv sync --group bench` installs what draws it.", style="dim")
        return
    # matplotlib is in a separate dependency group: measuring does not need it.
    from benchmarks.plot import write_plots

    # A run of what is not drawn.
    with suppress(ValueError):
        write_plots(document, folder)
        console.print(f"Drawn in {_shorten(folder)}/")


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    typer.run(main)
