"""Receiving into PostgreSQL: one replica and two, what an event costs whom, and what limits it."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Final

from benchmarks.disk import measure_postgres_disk
from benchmarks.figures import Measurement
from benchmarks.machine import on_processors
from benchmarks.postgres_ceiling import measure_postgres_ceiling
from benchmarks.processes import NOWHERE, Server, run_supabase, serve_relay
from benchmarks.scene import Scene
from benchmarks.settling import wait_until_settled
from benchmarks.shares import hold_to_share
from benchmarks.usage import FindProcesses, Meter, find_by_pid, find_of_postgres
from tests.postgres import PostgresServer, run_postgres

_CONNECTIONS: Final = 64
# Two replicas, PostgreSQL and the load then fit on two processors with some room.
_SHARE: Final = 0.35


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a run came to; the processor's time in microseconds an event."""

    rate: float
    relay: float
    postgres: float
    load: float


def measure_replicas(scene: Scene) -> list[Measurement]:
    """Measure what a second replica adds where the store is shared, and where that ends."""
    scene = replace(scene, rounds=max(1, scene.rounds - 2), seconds=scene.seconds * 2)
    with _on_all_processors(scene), run_postgres() as postgres:
        scene.report("receiving into PostgreSQL: one replica and two, each with a share")
        shared = _measure_shares(scene, postgres)
        scene.report("receiving into PostgreSQL beside SQLite, and writing it all to Supabase")
        whole = _measure_whole(scene, postgres)
        scene.report("what PostgreSQL takes at most")
        ceiling = measure_postgres_ceiling(scene, postgres)
        disk = measure_postgres_disk(scene, postgres)
    return [shared, whole, ceiling, disk]


def _on_all_processors(scene: Scene) -> AbstractContextManager[None]:
    """Have what is started here run anywhere: PostgreSQL and a replica need one each."""
    return on_processors(os.sched_getaffinity(0) | {scene.load_processor})


def _measure_shares(scene: Scene, postgres: PostgresServer) -> Measurement:
    url = postgres.create_database()
    with (
        serve_relay(scene.folder, url, NOWHERE) as first,
        serve_relay(scene.folder, url, NOWHERE) as second,
        hold_to_share((first.pid, second.pid), _SHARE) as is_held,
    ):
        both = (first, second)
        send = partial(_send, scene, both, find_of_postgres(postgres))
        seen = scene.run_in_turn({"one": lambda: send(both[:1]), "two": lambda: send(both)})
    if is_held:
        how = f"each replica is held to {_SHARE} of a processor, as on a small machine of its own"
    else:
        how = (
            "control groups cannot be written here, so that the replicas are not held to a share"
            " of a processor and compete with PostgreSQL for all: the ratio says little"
        )
    measurement = Measurement(
        "Replicas on one PostgreSQL",
        f"{how}; PostgreSQL, durable, has the rest, the load the last; {_CONNECTIONS} connections"
        " in all, single events; receiving only, Supabase is away",
    )
    _add_costs(measurement, seen["one"], "one replica")
    _add_costs(measurement, seen["two"], "two replicas")
    measurement.add_ratio("two replicas / one", _rates(seen["two"]), _rates(seen["one"]))
    relay, server = (
        median(getattr(cost, part) for cost in seen["two"]) for part in ("relay", "postgres")
    )
    measurement.add("one replica on a whole processor (computed)", "events/s", [1e6 / relay])
    measurement.add("PostgreSQL, one call at a time (computed)", "events/s", [1e6 / server])
    measurement.add(
        "whole replicas until PostgreSQL is busy (computed)", "replicas", [relay / server]
    )
    return measurement


def _measure_whole(scene: Scene, postgres: PostgresServer) -> Measurement:
    folder = scene.folder
    with (
        run_supabase(folder) as supabase,
        run_supabase(folder) as other_supabase,
        serve_relay(folder, postgres.create_database(), supabase) as alone,
        serve_relay(folder, f"sqlite:///{folder / 'beside.db'}", other_supabase) as sqlite,
    ):
        find = find_of_postgres(postgres)
        seen = scene.run_in_turn(
            {
                "sqlite": lambda: _send(scene, [sqlite], find, [sqlite], settle=True),
                "postgres": lambda: _send(scene, [alone], find, [alone], settle=True),
            }
        )
    measurement = Measurement(
        "PostgreSQL beside SQLite",
        f"one relay, {_CONNECTIONS} connections, single events; relay and PostgreSQL run on any"
        " processor; the processor's time is counted until the last event is written to a"
        " stand-in that accepts all",
    )
    _add_costs(measurement, seen["sqlite"], "SQLite", without_server=True)
    _add_costs(measurement, seen["postgres"], "PostgreSQL")
    measurement.add_ratio("PostgreSQL / SQLite", _rates(seen["postgres"]), _rates(seen["sqlite"]))
    return measurement


def _send(
    scene: Scene,
    relays: Sequence[Server],
    find_postgres: FindProcesses,
    receivers: Sequence[Server],
    *,
    settle: bool = False,
) -> _Cost:
    find_relays = find_by_pid(*(relay.pid for relay in relays))
    meter = Meter({"relay": find_relays, "postgres": find_postgres})
    seen = scene.send(*(relay.port for relay in receivers), connections=_CONNECTIONS)
    if settle:
        wait_until_settled(receivers[0].port)
    spent = {part: seconds / seen.events * 1e6 for part, seconds in meter.read().items()}
    load = seen.processor_seconds / seen.events * 1e6
    return _Cost(seen.rate, spent["relay"], spent["postgres"], load)


def _rates(costs: Sequence[_Cost]) -> list[float]:
    return [cost.rate for cost in costs]


def _add_costs(
    measurement: Measurement, costs: Sequence[_Cost], name: str, *, without_server: bool = False
) -> None:
    measurement.add(name, "events/s", _rates(costs))
    measurement.add(f"{name}, relay's processor", "µs/event", [cost.relay for cost in costs])
    if not without_server:
        measurement.add(
            f"{name}, PostgreSQL's processor", "µs/event", [cost.postgres for cost in costs]
        )
    measurement.add(f"{name}, load's processor", "µs/event", [cost.load for cost in costs])
