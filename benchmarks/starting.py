"""Starting: from process start until the relay is ready, and the share of imports."""

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import Measurement
from benchmarks.filled_store import fill_store
from benchmarks.processes import NOWHERE, run_bare, run_relay
from benchmarks.scene import Scene

_RELAY: Final = Path(sys.executable).with_name("relay")
_COMMANDS: Final[dict[str, Sequence[str | Path]]] = {
    "an interpreter that does nothing": (sys.executable, "-c", "pass"),
    "import fastapi, uvicorn": (sys.executable, "-c", "import fastapi, uvicorn"),
    "import app.main": (sys.executable, "-c", "import app.main"),
    "relay --help": (_RELAY, "--help"),
}


def measure_starting(scene: Scene) -> list[Measurement]:
    """Measure how long until a relay is ready, by what its store holds, and how long imports take.

    f" large store holds {scene.stored_events:,} events; Python's byte code is cached; the bare"
    " handler has no such page and answers 404",
    """
    scene.report("starting: a bare FastAPI, relays on empty stores and on a large one")
    scene = replace(scene, rounds=max(1, scene.rounds - 2))
    return [_measure_readiness(scene), _measure_imports(scene)]


def _measure_readiness(scene: Scene) -> Measurement:
    large = scene.folder / "large.db"
    shutil.copy(fill_store(scene), large)

    def start_relay(store: Path, *, is_new: bool = False) -> float:
        if is_new:
            store.unlink(missing_ok=True)
        return _time_start(partial(run_relay, scene.folder, f"sqlite:///{store}", NOWHERE))

    seconds = scene.run_in_turn(
        {
            "bare": lambda: _time_start(partial(run_bare, scene.folder)),
            "first": lambda: start_relay(scene.folder / "first.db", is_new=True),
            "empty": lambda: start_relay(scene.folder / "empty.db"),
            "large": lambda: start_relay(large),
        }
    )
    measurement = Measurement(
        "Starting",
        "from the start of the process until GET /health is answered; looked for every 20 ms; the"
        f" large store holds {scene.stored_events:,} events; Python's byte code is cached; the bare"
        " handler has no such page and answers 404",
    )
    measurement.add("bare FastAPI and uvicorn", "s", seconds["bare"])
    measurement.add("relay, no store yet", "s", seconds["first"])
    measurement.add("relay, empty store", "s", seconds["empty"])
    measurement.add("relay, large store", "s", seconds["large"])
    measurement.add_ratio("relay, empty store / bare", seconds["empty"], seconds["bare"])
    measurement.add_ratio("large store / empty store", seconds["large"], seconds["empty"])
    return measurement


def _time_start(run: Callable[[], AbstractContextManager[int]]) -> float:
    started = time.perf_counter()
    with run() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/health")
        status = connection.getresponse().status
        seconds = time.perf_counter() - started
        connection.close()
    if status not in (200, 404):
        raise RuntimeError(f"GET /health: {status}")
    return seconds


def _measure_imports(scene: Scene) -> Measurement:
    seconds = scene.run_in_turn(
        {name: partial(_time_process, command) for name, command in _COMMANDS.items()}
    )
    measurement = Measurement("Importing", "whole processes, the start of the interpreter included")
    for name, values in seconds.items():
        measurement.add(name, "s", values)
    measurement.add_ratio(
        "app.main / fastapi, uvicorn",
        seconds["import app.main"],
        seconds["import fastapi, uvicorn"],
    )
    return measurement


def _time_process(command: Sequence[str | Path]) -> float:
    started = time.perf_counter()
    subprocess.run(  # noqa: S603 - ours
        command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started
