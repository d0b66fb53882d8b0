"""Receiving single events: a relay on SQLite beside a bare handler and a server that is none."""

from benchmarks.figures import Measurement, run_in_turn
from benchmarks.processes import NOWHERE, run_bare, run_ceiling, run_relay, run_supabase
from benchmarks.scene import Scene

_CONNECTIONS = 32


def measure_receiving(scene: Scene) -> Measurement:
    """Measure how many events a second are verified, validated, stored and fsynced."""
    scene.report("receiving: ceiling, bare FastAPI, relay on SQLite")
    folder = scene.folder
    latencies: dict[str, list[float]] = {"p50": [], "p99": []}
    with (
        run_ceiling(folder) as ceiling,
        run_bare(folder) as bare,
        run_supabase(folder) as supabase,
        run_relay(folder, f"sqlite:///{folder / 'receiving.db'}", supabase) as relay,
        run_relay(folder, f"sqlite:///{folder / 'storing.db'}", NOWHERE) as storing,
    ):

        def send_to_relay() -> float:
            seen = scene.send(relay, connections=_CONNECTIONS)
            latencies["p50"].append(seen.p50_milliseconds)
            latencies["p99"].append(seen.p99_milliseconds)
            return seen.rate

        rates = run_in_turn(
            {
                "ceiling": lambda: scene.send(ceiling, connections=_CONNECTIONS).rate,
                "bare": lambda: scene.send(bare, connections=_CONNECTIONS).rate,
                "relay": send_to_relay,
                "storing": lambda: scene.send(storing, connections=_CONNECTIONS).rate,
            },
            scene.rounds,
        )
    measurement = Measurement(
        "Receiving, SQLite",
        f"{_CONNECTIONS} connections, each with one signed event at a time; the dispatcher writes"
        " to a server that takes all at once and shares the servers' processors, or cannot write",
    )
    measurement.add("load's own ceiling", "requests/s", rates["ceiling"])
    measurement.add("bare FastAPI handler", "requests/s", rates["bare"])
    measurement.add("relay", "events/s", rates["relay"])
    measurement.add("relay, Supabase away", "events/s", rates["storing"])
    measurement.add("relay, p50", "ms", latencies["p50"][1:])
    measurement.add("relay, p99", "ms", latencies["p99"][1:])
    measurement.add_ratio("relay / bare", rates["relay"], rates["bare"])
    measurement.add_ratio("relay, Supabase away / bare", rates["storing"], rates["bare"])
    measurement.add_ratio("bare / ceiling", rates["bare"], rates["ceiling"])
    return measurement
