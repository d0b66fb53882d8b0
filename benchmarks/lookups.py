"""Lookups and replays in a store with many events, and their cost for senders."""

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

from benchmarks.figures import Measurement, run_in_turn
from benchmarks.filled_store import fill_store
from benchmarks.machine import on_processor
from benchmarks.operators import Operator, keep_busy
from benchmarks.processes import NOWHERE, run_relay
from benchmarks.scene import Scene

_LOOKUPS = 100
_CONNECTIONS = 32


def measure_lookups(scene: Scene) -> list[Measurement]:
    """Measure every kind of filter, the marking of a replay, and receiving beside both."""
    store = scene.folder / "lookups.db"
    shutil.copy(fill_store(scene), store)
    scene.report(f"looking up among {scene.stored_events:,} events, and replaying them")
    with (
        run_relay(scene.folder, f"sqlite:///{store}", NOWHERE) as port,
        on_processor(scene.load_processor),
    ):
        operator = Operator(port)
        size = f"{scene.stored_events:,} events of {scene.stored_entities:,} entities"
        lookups = Measurement(
            "Looking up",
            f"{size}; one connection, one request at a time, {_LOOKUPS} of each kind in a round",
        )
        _measure_looks(_list_looks(operator), lookups, scene.rounds)
        pages = Measurement("Opening the console", f"{size}; 10,000 revocations; likewise")
        _measure_looks(_list_pages(operator), pages, scene.rounds)
        replays = Measurement(
            "Replaying", f"{size}; Supabase is unavailable, so nothing is written"
        )
        _measure_marking(operator, replays, scene.rounds)
        beside = Measurement(
            "Receiving beside an operator",
            f"{size}; {_CONNECTIONS} connections; the operator queries again after each response"
            " (status=applied, 50 events), or replays everything over and over; the operator and"
            " the load share a processor, Supabase is unavailable",
        )
        _measure_receiving(scene, port, beside)
        operator.close()
    return [lookups, pages, replays, beside]


def _measure_looks(
    looks: Mapping[str, Callable[[], object]], measurement: Measurement, rounds: int
) -> None:
    p50: dict[str, list[float]] = {name: [] for name in looks}
    p99: dict[str, list[float]] = {name: [] for name in looks}
    for _ in range(rounds):
        for name, look in looks.items():
            took = _time(look)
            p50[name].append(took[len(took) // 2])
            p99[name].append(took[len(took) * 99 // 100 - 1])
    for name in looks:
        measurement.add(f"{name}, p50", "ms", p50[name])
        measurement.add(f"{name}, p99", "ms", p99[name])


def _list_looks(operator: Operator) -> dict[str, Callable[[], object]]:
    page = operator.get("/events", limit="200")
    some = page["events"][100]
    moment = page["events"][-1]["received_at"]
    filters: dict[str, dict[str, str]] = {
        "newest": {},
        "until": {"until": moment},
        "since and until": {"since": "2020-01-01T00:00:00Z", "until": moment},
        "types": {"types": "membership.updated"},
        "types of which there are none": {"types": "user.deleted"},
        "entity": {"entity": f"{some['entity']['kind']}/{some['entity']['key']}"},
        **{
            f"status={status}": {"status": status}
            for status in ("applied", "superseded", "pending", "dead")
        },
        "types and status": {"types": "user.deleted", "status": "applied"},
        "next page": {"cursor": page["next_cursor"]},
    }
    looks: dict[str, Callable[[], object]] = {
        name: partial(operator.get, "/events", **given) for name, given in filters.items()
    }
    looks["one event"] = partial(operator.get, f"/events/{some['event_id']}")
    return looks


def _list_pages(operator: Operator) -> dict[str, Callable[[], object]]:
    event_id = operator.get("/events", limit="1")["events"][0]["event_id"]
    paths = {
        "now": "/console",
        "events": "/console/events",
        "events of one cause": "/console/events?status=dead&error_code=23514",
        "one event": f"/console/events/{event_id}",
        "dead": "/console/dead",
        "confirming the replay of one cause": "/console/replays/new?status=dead&error_code=23514",
        "revocations of a week": "/console/revocations?period=week",
        "drift": "/console/drift",
    }
    return {name: partial(operator.open, path) for name, path in paths.items()}


def _time(look: Callable[[], object]) -> list[float]:
    """Give how long each of many took, in milliseconds, the shortest first."""
    look()
    took = []
    for _ in range(_LOOKUPS):
        started = time.perf_counter()
        look()
        took.append((time.perf_counter() - started) * 1000)
    return sorted(took)


def _measure_marking(operator: Operator, measurement: Measurement, rounds: int) -> None:
    criteria: dict[str, dict[str, object]] = {
        "everything": {"all": True},
        "by type": {"types": ["membership.created"]},
    }
    for name, given in criteria.items():
        events, entities = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            replay = operator.replay(**given)
            seconds = time.perf_counter() - started
            events.append(replay["matched_events"] / seconds)
            entities.append(replay["marked"] / seconds)
        measurement.add(f"{name}, events", "events/s", events)
        measurement.add(f"{name}, entities marked", "entities/s", entities)


def _measure_receiving(scene: Scene, port: int, measurement: Measurement) -> None:
    def send(what: str | None) -> float:
        with nullcontext() if what is None else keep_busy(port, what):
            return scene.send(port, connections=_CONNECTIONS).rate

    rates = run_in_turn(
        {
            "alone": lambda: send(None),
            "looking up": lambda: send("look"),
            "replaying": lambda: send("replay"),
        },
        scene.rounds,
    )
    for name, values in rates.items():
        measurement.add(name, "events/s", values)
    measurement.add_ratio("while looking up / alone", rates["looking up"], rates["alone"])
    measurement.add_ratio("while replaying / alone", rates["replaying"], rates["alone"])
