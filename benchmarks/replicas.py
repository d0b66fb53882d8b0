"""Receiving into PostgreSQL, with one replica and with two, beside SQLite."""

from benchmarks.figures import Measurement, run_in_turn
from benchmarks.processes import run_relay, run_supabase
from benchmarks.scene import Scene
from tests.postgres import run_postgres

_CONNECTIONS = 64


def measure_replicas(scene: Scene) -> Measurement:
    """Measure what a second replica adds where the store is shared."""
    scene.report("receiving into PostgreSQL: one replica, two replicas, SQLite")
    folder = scene.folder
    with (
        run_postgres() as postgres,
        run_supabase(folder) as supabase,
        run_relay(folder, postgres.create_database(), supabase) as alone,
    ):
        shared = postgres.create_database()
        with (
            run_relay(folder, shared, supabase) as first,
            run_relay(folder, shared, supabase) as second,
            run_relay(folder, f"sqlite:///{folder / 'beside.db'}", supabase) as sqlite,
        ):
            rates = run_in_turn(
                {
                    "sqlite": lambda: scene.send(sqlite, connections=_CONNECTIONS).rate,
                    "one": lambda: scene.send(alone, connections=_CONNECTIONS).rate,
                    "two": lambda: scene.send(first, second, connections=_CONNECTIONS).rate,
                },
                scene.rounds,
            )
    measurement = Measurement(
        "Receiving, PostgreSQL",
        f"{_CONNECTIONS} connections in all, each with one signed event at a time; PostgreSQL,"
        " durable, and the replicas share the servers' processors, so that a second replica has"
        " something to run on only where these are more than two",
    )
    measurement.add("SQLite", "events/s", rates["sqlite"])
    measurement.add("PostgreSQL, one replica", "events/s", rates["one"])
    measurement.add("PostgreSQL, two replicas", "events/s", rates["two"])
    measurement.add_ratio("one replica / SQLite", rates["one"], rates["sqlite"])
    measurement.add_ratio("two replicas / one", rates["two"], rates["one"])
    return measurement
