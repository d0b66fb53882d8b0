"""Receiving batches: what a backfill or an outbox flush gains over single events."""

from functools import partial
from typing import Final

from benchmarks.figures import Measurement
from benchmarks.load import Seen
from benchmarks.machine import on_one_processor
from benchmarks.processes import NOWHERE, run_relay
from benchmarks.scene import Scene

_EVENTS: Final = 500


def measure_batches(scene: Scene) -> list[Measurement]:
    """Measure `POST /webhooks/batch` beside `POST /webhooks`, into the same store."""
    scene.report(f"receiving batches of {_EVENTS} events beside single ones")
    store_url = f"sqlite:///{scene.folder / 'batches.db'}"
    with on_one_processor(), run_relay(scene.folder, store_url, NOWHERE) as port:
        single = partial(scene.send, port)
        batch = partial(scene.send, port, batch_events=_EVENTS)
        runs: dict[str, list[Seen]] = scene.run_in_turn(
            {
                "single 1": partial(single, connections=1),
                "single 32": partial(single, connections=32),
                "batch 1": partial(batch, connections=1),
                "batch 4": partial(batch, connections=4),
            }
        )
    rates = {name: [seen.rate for seen in seen_by_round] for name, seen_by_round in runs.items()}
    measurement = Measurement(
        "Receiving batches",
        f"batches of {_EVENTS} new memberships, one commit each; Supabase is away, so that only"
        " receiving is measured",
    )
    measurement.add_ratio(
        "batches / single events, one connection each", rates["batch 1"], rates["single 1"]
    )
    measurement.add_ratio(
        "batches over 1 / single events over 32 connections", rates["batch 1"], rates["single 32"]
    )
    measurement.add_ratio(
        "batches over 4 / single events over 32 connections", rates["batch 4"], rates["single 32"]
    )
    measurement.add("single events, 1 connection", "events/s", rates["single 1"])
    measurement.add("single events, 32 connections", "events/s", rates["single 32"])
    measurement.add("batches, 1 connection", "events/s", rates["batch 1"])
    measurement.add("batches, 4 connections", "events/s", rates["batch 4"])
    for connections, name in ((1, "1 connection"), (4, "4 connections")):
        p99 = [seen.p99_milliseconds for seen in runs[f"batch {connections}"]]
        measurement.add(f"a batch, {name}, p99", "ms", p99)
    return [measurement]
