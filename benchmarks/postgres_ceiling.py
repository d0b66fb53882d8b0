"""Ceiling of PostgreSQL: events per second through the receiving function, without HTTP."""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from app.domain.events import Event, EventId, EventType, make_event
from app.domain.instants import from_seconds
from app.store.store import Store
from benchmarks.figures import Measurement
from benchmarks.requests import draw_memberships, make_event_id
from benchmarks.scene import Scene
from benchmarks.usage import Meter, find_by_pid, find_of_postgres
from tests.postgres import PostgresServer

# Concurrent callers, and events per call: as group commits and batches have.
_KINDS: Final = ((1, 32), (2, 32), (4, 32), (1, 500), (4, 500))
_EVENTS: Final = 8_000
_EVENTS_IF_QUICK: Final = 1_000

Spent = dict[str, float]


def measure_postgres_ceiling(scene: Scene, postgres: PostgresServer) -> Measurement:
    """Measure how many events a second PostgreSQL stores, with several stores calling at once."""
    count = _EVENTS_IF_QUICK if scene.is_quick else _EVENTS
    seen = scene.run_in_turn(
        {
            _name(callers, call_events): partial(
                _store, postgres, callers=callers, call_events=call_events, count=count
            )
            for callers, call_events in _KINDS
        }
    )
    measurement = Measurement(
        "PostgreSQL's own ceiling",
        f"{count:,} events of new memberships, stored by one process that only calls the store;"
        " each caller is a store with its own connections, as a replica has, and calls again after"
        " each result; the process and PostgreSQL have all processors",
    )
    for name, spent in seen.items():
        measurement.add(name, "events/s", [count / each["elapsed"] for each in spent])
    for call_events in (32, 500):
        measurement.add(
            f"PostgreSQL's processor, {call_events} a call",
            "µs/event",
            [spent["postgres"] / count * 1e6 for spent in seen[_name(1, call_events)]],
        )
    return measurement


def _name(callers: int, call_events: int) -> str:
    return f"{call_events} a call, {callers} caller{'' if callers == 1 else 's'}"


def _store(postgres: PostgresServer, *, callers: int, call_events: int, count: int) -> Spent:
    return asyncio.run(_store_all(postgres, callers, call_events, count))


async def _store_all(postgres: PostgresServer, callers: int, call_events: int, count: int) -> Spent:
    url = postgres.create_database()
    events = _make_events(count)
    calls = [events[first : first + call_events] for first in range(0, count, call_events)]
    stores = [await Store.open(url) for _ in range(callers)]
    try:
        meter = Meter({"postgres": find_of_postgres(postgres), "callers": find_by_pid(os.getpid())})
        started = time.perf_counter()
        await asyncio.gather(
            *(_call(store, calls[number::callers]) for number, store in enumerate(stores))
        )
        return {"elapsed": time.perf_counter() - started, **meter.read()}
    finally:
        for store in stores:
            await store.close()


async def _call(store: Store, calls: Sequence[Sequence[Event]]) -> None:
    for events in calls:
        await store.store_events(events, from_seconds(time.time()))


def _make_events(count: int) -> list[Event]:
    source = random.Random()  # noqa: S311
    now = from_seconds(time.time())
    return [
        make_event(
            EventId(make_event_id(source, time.time())),
            EventType.MEMBERSHIP_CREATED,
            now,
            {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"},
            source.randbytes(32),
        )
        for trip_id, user_id in draw_memberships(count)
    ]
