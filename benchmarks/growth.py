"""What a store that has grown costs: in speed, in memory and on disk."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.backfill import BATCH_EVENTS, send_batches
from benchmarks.disk import measure_sqlite_disk
from benchmarks.figures import Measurement
from benchmarks.filled_store import fill_store
from benchmarks.machine import on_processor
from benchmarks.processes import Server, run_supabase, serve_relay
from benchmarks.requests import draw_memberships
from benchmarks.scene import Scene
from benchmarks.settling import wait_until_settled
from benchmarks.usage import read_memory

_CONNECTIONS: Final = 32


def measure_growth(scene: Scene) -> list[Measurement]:
    """Measure receiving into a large store, a long backfill's memory, and bytes on disk."""
    return [_measure_speed(scene), _measure_memory(scene), measure_sqlite_disk(scene)]


def _measure_speed(scene: Scene) -> Measurement:
    large = scene.folder / "grown.db"
    shutil.copy(fill_store(scene), large)
    scene.report(f"receiving into a store with {scene.stored_events:,} events, and into a new one")
    # In short turns, so that both meet the same machine, and the new store stays a new one.
    scene = replace(scene, rounds=scene.rounds * 2)
    folder = scene.folder
    with (
        run_supabase(folder, processor=scene.load_processor) as supabase,
        run_supabase(folder, processor=scene.load_processor) as other_supabase,
        serve_relay(folder, f"sqlite:///{large}", supabase) as grown,
        serve_relay(folder, f"sqlite:///{folder / 'new.db'}", other_supabase) as new,
    ):
        # Some of what it holds is pending.
        wait_until_settled(grown.port)
        runs = scene.run_in_turn(
            {"new": partial(_send, scene, new), "grown": partial(_send, scene, grown)}
        )
    rates, costs = (
        {name: [run[place] for run in seen] for name, seen in runs.items()} for place in (0, 1)
    )
    measurement = Measurement(
        "Receiving into a large store",
        f"{scene.stored_events:,} events of {scene.stored_entities:,} entities at the beginning,"
        f" beside none; the same load for both ({_CONNECTIONS} connections, single events, each of"
        " a new membership), which adds to both; the dispatcher writes to a stand-in that accepts"
        " all",
    )
    measurement.add_ratio("large / new", rates["grown"], rates["new"])
    measurement.add_ratio("large / new, processor time", costs["grown"], costs["new"])
    measurement.add("new store", "events/s", rates["new"])
    measurement.add("large store", "events/s", rates["grown"])
    measurement.add("new store, relay's processor", "µs/event", costs["new"])
    measurement.add("large store, relay's processor", "µs/event", costs["grown"])
    return measurement


def _send(scene: Scene, relay: Server) -> tuple[float, float]:
    """Give the rate, and the processor's time for an event until it is applied."""
    worked = relay.read_processor_seconds()
    seen = scene.send(relay.port, connections=_CONNECTIONS)
    # What it has still to write would be written in the other's turn.
    wait_until_settled(relay.port)
    return seen.rate, (relay.read_processor_seconds() - worked) / seen.events * 1e6


def _measure_memory(scene: Scene) -> Measurement:
    scene.report(f"the relay's memory while {scene.stored_events:,} events come in by batches")
    with _run_alone(scene, scene.folder / "memory.db") as relay:
        before = read_memory(relay.pid)
        with on_processor(scene.load_processor):
            memberships = _draw_again_and_again(scene)
            samples = [read_memory(relay.pid) for _ in send_batches(relay.port, memberships)]
    tenth = samples[len(samples) // 10]
    measurement = Measurement(
        "Memory",
        f"resident memory of the process; {scene.stored_events:,} events of"
        f" {scene.stored_entities:,} memberships, {BATCH_EVENTS} a batch, one batch at a time, and"
        " read after each; once; the dispatcher writes to a stand-in that accepts all",
    )
    measurement.add("ready", "MB", [before])
    measurement.add("after a tenth", "MB", [tenth])
    measurement.add("at the end", "MB", [samples[-1]])
    measurement.add("largest", "MB", [max(samples)])
    measurement.add("end / tenth", "ratio", [samples[-1] / tenth])
    return measurement


def _draw_again_and_again(scene: Scene) -> Iterator[tuple[str, str]]:
    source = random.Random()  # noqa: S311
    memberships = list(draw_memberships(scene.stored_entities))
    return (source.choice(memberships) for _ in range(scene.stored_events))


@contextmanager
def _run_alone(scene: Scene, path: Path) -> Iterator[Server]:
    with (
        run_supabase(scene.folder, processor=scene.load_processor) as supabase,
        serve_relay(scene.folder, f"sqlite:///{path}", supabase) as relay,
    ):
        yield relay
