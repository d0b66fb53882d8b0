"""Receiving single events: a relay on SQLite beside bare handlers and a server that is none."""

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.figures import Measurement
from benchmarks.load import Seen
from benchmarks.machine import on_one_processor
from benchmarks.processes import (
    NOWHERE,
    Server,
    run_supabase,
    serve_bare,
    serve_ceiling,
    serve_relay,
)
from benchmarks.scene import Scene
from benchmarks.settling import wait_until_settled

_CONNECTIONS: Final = (1, 32, 128)
_QUICK_CONNECTIONS: Final = (1, 32)
_CEILING, _ASGI, _BARE = "load's own ceiling", "raw ASGI on uvicorn", "bare FastAPI"
_RELAY, _STORING = "relay", "relay, Supabase away"
_RANDOM = "relay, Supabase away, random ids"
# With the other lines of level INFO, of which an unavailable Supabase brings few.
_LOGGING = {
    f"relay, Supabase away, LOG_WEBHOOKS={mode}": {"LOG_LEVEL": "INFO", "LOG_WEBHOOKS": mode}
    for mode in ("rejected", "all")
}


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of one contender.

    Attributes:
        seen: by the load.
        processor_microseconds: of the server, for each request and all that followed from it.
    """

    seen: Seen
    processor_microseconds: float


def measure_receiving(scene: Scene) -> list[Measurement]:
    """Measure how many events a second are verified, validated, stored and fsynced, and how soon.

    Supabase's stand-in runs on the load's processor: on the relay's, the relay would pay for it.
    """
    scene.report("receiving: ceiling, bare handlers, relay on SQLite")
    folder = scene.folder
    with on_one_processor(), ExitStack() as stack:
        supabase = stack.enter_context(run_supabase(folder, processor=scene.load_processor))
        receiving, storing, at_random = (
            f"sqlite:///{folder / name}" for name in ("taken.db", "stored.db", "random.db")
        )
        servers = {
            _CEILING: stack.enter_context(serve_ceiling(folder)),
            _ASGI: stack.enter_context(serve_bare(folder, "asgi")),
            _BARE: stack.enter_context(serve_bare(folder)),
            _RELAY: stack.enter_context(serve_relay(folder, receiving, supabase)),
            _STORING: stack.enter_context(serve_relay(folder, storing, NOWHERE)),
            _RANDOM: stack.enter_context(serve_relay(folder, at_random, NOWHERE)),
        }
        for number, (name, settings) in enumerate(_LOGGING.items()):
            store_url = f"sqlite:///{folder / f'logging{number}.db'}"
            relay = serve_relay(folder, store_url, NOWHERE, settings=settings)
            servers[name] = stack.enter_context(relay)
        measurements = []
        rate = 0.0
        for connections in _QUICK_CONNECTIONS if scene.is_quick else _CONNECTIONS:
            measurement, runs = _measure_rates(scene, servers, connections)
            measurements.append(measurement)
            rate = statistics.median(run.seen.rate for run in runs[_RELAY])
        measurements.append(_measure_half_load(scene, servers, connections, rate / 2))
    return measurements


def _measure_rates(
    scene: Scene, servers: Mapping[str, Server], connections: int
) -> tuple[Measurement, dict[str, list[_Run]]]:
    # The cost of load and server without a handler is measured where it matters most.
    names = list(servers) if connections == 32 else [_BARE, _RELAY, _STORING]
    runs = scene.run_in_turn(
        {name: partial(_run, scene, servers[name], name, connections) for name in names}
    )
    measurement = Measurement(
        f"Receiving over {connections} connection{'' if connections == 1 else 's'}",
        "each with one signed event at a time; servers have one processor, load and Supabase the"
        " other; Supabase accepts all at once, and what is written to it after a run counts as"
        " processor time of its requests",
    )
    rates = {name: [run.seen.rate for run in runs[name]] for name in names}
    costs = {name: [run.processor_microseconds for run in runs[name]] for name in names}
    for name in (_RELAY, _STORING):
        measurement.add_ratio(f"{name} / {_BARE}", rates[name], rates[_BARE])
        measurement.add_ratio(f"{name} / {_BARE}, processor time", costs[name], costs[_BARE])
    if _RANDOM in names:
        measurement.add_ratio("random ids / ids that grow", rates[_RANDOM], rates[_STORING])
        for name in _LOGGING:
            measurement.add_ratio(f"{name} / without a log", rates[name], rates[_STORING])
    if _ASGI in names:
        measurement.add_ratio(f"{_BARE} / {_ASGI}", rates[_BARE], rates[_ASGI])
        measurement.add_ratio(f"{_BARE} / {_CEILING}", rates[_BARE], rates[_CEILING])
    for name in names:
        measurement.add(name, "requests/s", rates[name])
    for name in (_BARE, _RELAY, _STORING):
        measurement.add(f"{name}, processor time a request", "µs", costs[name])
    for name in (_BARE, _RELAY, _STORING):
        p50 = [run.seen.p50_milliseconds for run in runs[name]]
        p99 = [run.seen.p99_milliseconds for run in runs[name]]
        measurement.add(f"{name}, p50", "ms", p50)
        measurement.add(f"{name}, p99", "ms", p99)
    return measurement, runs


def _run(
    scene: Scene, server: Server, name: str, connections: int, rate: float | None = None
) -> _Run:
    before = server.read_processor_seconds()
    seen = scene.send(server.port, connections=connections, rate=rate, random_ids=name == _RANDOM)
    if name == _RELAY:
        # Pending writes would slow the next contender, and are part of the cost.
        wait_until_settled(server.port)
    seconds = server.read_processor_seconds() - before
    return _Run(seen, seconds / seen.requests * 1_000_000)


def _measure_half_load(
    scene: Scene, servers: Mapping[str, Server], connections: int, rate: float
) -> Measurement:
    runs = scene.run_in_turn(
        {
            name: partial(_run, scene, servers[name], name, connections, rate)
            for name in (_BARE, _RELAY)
        }
    )
    measurement = Measurement(
        "Accepting at half load",
        f"{rate:,.0f} events/s, half of what the relay took over {connections} connections, each"
        " sent when it is due and timed from then, so that no stall is hidden",
    )
    for name in (_RELAY, _BARE):
        seen = [run.seen for run in runs[name]]
        measurement.add(f"{name}, p50", "ms", [one.p50_milliseconds for one in seen])
        measurement.add(f"{name}, p99", "ms", [one.p99_milliseconds for one in seen])
        measurement.add(f"{name}, answered", "requests/s", [one.rate for one in seen])
    return measurement
