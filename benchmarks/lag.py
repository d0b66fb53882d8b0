"""Lag: from the moment an event is due to be sent to the response of Supabase for its row."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.demo.local_supabase import LocalSupabase
from benchmarks.figures import Measurement
from benchmarks.load import Plan, run_load
from benchmarks.pacing import Pace, pick_quantile
from benchmarks.processes import run_recorder, serve_relay
from benchmarks.recording import Recording
from benchmarks.revocations import measure_revocations
from benchmarks.scene import Scene
from benchmarks.supabase import empty_memberships, run_supabase_over_postgres
from benchmarks.world import TRIPS, USERS, name_memberships
from tests.postgres import run_postgres

_CONNECTIONS: Final = 32
_RATES: Final = (200, 1000)
_DISTANCE_MILLISECONDS: Final = 30
_ARRIVE_SECONDS: Final = 30.0
_BATCH: Final = 500
# At 200 a second a p99 needs more time than a rate does.
_LONGER: Final = 2


@dataclass(frozen=True, slots=True)
class _Way:
    """Relays that share a store, their Supabase, and what stands between them."""

    ports: tuple[int, ...]
    supabase: LocalSupabase
    recording: Recording


@dataclass(frozen=True, slots=True)
class _Lag:
    p50_milliseconds: float
    p99_milliseconds: float


class _Lags:
    """Measures lags, each with new memberships: the relay writes no applied one again."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._used = 0
        self._seconds = scene.seconds if scene.is_quick else scene.seconds * _LONGER

    def measure_grants(self, way: _Way, rate: int) -> _Lag:
        empty_memberships(way.supabase)
        return self._measure(way, rate, self._take(self._count_batches(rate)), removal=False)

    def measure_steady_revocations(self, way: _Way, rate: int) -> _Lag:
        empty_memberships(way.supabase)
        batches = self._count_batches(rate)
        first = self._take(batches)
        granting = Plan(
            way.ports,
            1,
            _ARRIVE_SECONDS,
            self._scene.load_processor,
            requests=batches,
            batch_events=_BATCH,
            first_membership=first,
        )
        run_load(granting)
        keys = name_memberships(first, batches * _BATCH)
        way.recording.await_rows(keys, seconds=_ARRIVE_SECONDS)
        return self._measure(way, rate, first, removal=True)

    def _count_batches(self, rate: int) -> int:
        return -(-Pace(rate, self._seconds).count // _BATCH)

    def _take(self, batches: int) -> int:
        """Return the first of this many batches of unused memberships."""
        first = self._used
        self._used += batches * _BATCH
        if self._used > TRIPS * USERS:
            raise RuntimeError("there are no more memberships: take fewer rounds or seconds")
        return first

    def _measure(self, way: _Way, rate: int, first: int, *, removal: bool) -> _Lag:
        pace = Pace(rate, self._seconds)
        seen = run_load(
            Plan(
                way.ports,
                _CONNECTIONS,
                self._seconds,
                self._scene.load_processor,
                rate=rate,
                first_membership=first,
                removal=removal,
            )
        )
        keys = name_memberships(first, pace.count)
        arrived = way.recording.await_rows(keys, seconds=_ARRIVE_SECONDS, removal=removal)
        lags = sorted(
            arrived[key] - (seen.started_at + pace.due_after(number))
            for number, key in enumerate(keys)
        )
        return _Lag(pick_quantile(lags, 0.5) * 1000, pick_quantile(lags, 0.99) * 1000)


def measure_lag(scene: Scene) -> list[Measurement]:
    """Measure how soon Supabase holds a change: at a steady rate, and behind a backlog.

    Raises:
        RuntimeError: a change never arrived.
    """
    scene.report("lag: events at a steady rate, through the relay into the local Supabase")
    lags = _Lags(scene)
    return [
        _measure_sqlite(scene, lags),
        _measure_postgres(scene, lags),
        measure_revocations(scene),
    ]


def _measure_sqlite(scene: Scene, lags: _Lags) -> Measurement:
    with ExitStack() as stack:
        near, far = (
            stack.enter_context(
                _run_way(scene, f"sqlite:///{scene.folder}/lag-{delay}.db", delay=delay)
            )
            for delay in (0, _DISTANCE_MILLISECONDS)
        )
        runs = scene.run_in_turn(
            {
                **{f"{rate:,}/s": partial(lags.measure_grants, near, rate) for rate in _RATES},
                "revocations, 200/s": partial(lags.measure_steady_revocations, near, 200),
                **{
                    f"{rate:,}/s, Supabase {_DISTANCE_MILLISECONDS} ms away": partial(
                        lags.measure_grants, far, rate
                    )
                    for rate in _RATES
                },
            }
        )
    return _write("Lag, SQLite", runs)


def _measure_postgres(scene: Scene, lags: _Lags) -> Measurement:
    with run_postgres() as postgres, ExitStack() as stack:
        one, two = (
            stack.enter_context(_run_way(scene, postgres.create_database(), replicas=replicas))
            for replicas in (1, 2)
        )
        runs = scene.run_in_turn(
            {
                "one replica, 200/s": partial(lags.measure_grants, one, 200),
                "two replicas, 200/s": partial(lags.measure_grants, two, 200),
            }
        )
    return _write("Lag, PostgreSQL", runs)


@contextmanager
def _run_way(
    scene: Scene, store_url: str, *, replicas: int = 1, delay: float = 0
) -> Iterator[_Way]:
    with ExitStack() as stack:
        supabase = stack.enter_context(run_supabase_over_postgres({scene.load_processor}))
        recording = stack.enter_context(
            run_recorder(
                scene.folder,
                supabase.url,
                delay_milliseconds=delay,
                processor=scene.load_processor,
            )
        )
        relays = [
            stack.enter_context(
                serve_relay(scene.folder, store_url, recording.url, supabase.secret_key)
            )
            for _ in range(replicas)
        ]
        yield _Way(tuple(relay.port for relay in relays), supabase, recording)


def _write(name: str, runs: dict[str, list[_Lag]]) -> Measurement:
    measurement = Measurement(
        name,
        "memberships, each sent when it is due and timed from then until the local Supabase"
        " has answered the request of its row; Supabase and the load share a processor; every one"
        " arrived",
    )
    for way, seen in runs.items():
        measurement.add(f"{way}, p50", "ms", [lag.p50_milliseconds for lag in seen])
        measurement.add(f"{way}, p99", "ms", [lag.p99_milliseconds for lag in seen])
    return measurement
