"""Revocations behind a backlog: how long each takes to apply while grants are pending."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from app.demo.local_supabase import LocalSupabase
from benchmarks.figures import Measurement, run_in_turn
from benchmarks.filled_store import fill_backlog
from benchmarks.load import Plan, Seen, run_load
from benchmarks.pacing import Pace, pick_quantile
from benchmarks.processes import run_recorder, serve_relay
from benchmarks.recording import Recording
from benchmarks.scene import Scene
from benchmarks.settling import read_pending
from benchmarks.supabase import (
    create_memberships,
    empty_memberships,
    run_supabase_over_postgres,
)
from benchmarks.world import name_memberships

# A smaller one would be drained before the last revocation, also in a quick run.
_BACKLOG: Final = 100_000
_PACE: Final = Pace(rate=20, seconds=2.5)
_QUICK_PACE: Final = Pace(rate=20, seconds=0.5)
_CONNECTIONS: Final = 4
_DISTANCE_MILLISECONDS: Final = 20
_ARRIVE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Lag:
    """How long revocations took.

    Attributes:
        p50_milliseconds: half took no longer.
        p99_milliseconds: all but one in a hundred took no longer.
        most_ahead: how many other requests were answered during one revocation, at most.
    """

    p50_milliseconds: float
    p99_milliseconds: float
    most_ahead: int


def measure_revocations(scene: Scene) -> Measurement:
    """Measure from the POST of a revocation to the response of Supabase.

    Raises:
        RuntimeError: the backlog was drained too soon, or a revocation never arrived.
    """
    backlog = fill_backlog(scene, _BACKLOG)
    pace = _QUICK_PACE if scene.is_quick else _PACE
    scene.report(f"lag: revocations while {_BACKLOG:,} grants are pending")
    with run_supabase_over_postgres({scene.load_processor}) as supabase:
        measure = partial(_revoke, scene, supabase, backlog, pace)
        # Every relay is a new process: no warm-up.
        runs = run_in_turn(
            {
                "revocation": partial(measure, 0),
                f"revocation, {_DISTANCE_MILLISECONDS} ms away": partial(
                    measure, _DISTANCE_MILLISECONDS
                ),
            },
            scene.rounds,
            warm_up=False,
        )
    measurement = Measurement(
        "Lag, behind a backlog",
        f"{pace.count} memberships that are deleted, {pace.rate:g} a second, while {_BACKLOG:,}"
        " pending grants are drained into the local Supabase, each timed from when it is due"
        " until Supabase has answered its request; the requests ahead of it are those that are"
        " answered in that time; Supabase and the load share a processor",
    )
    for way, seen in runs.items():
        measurement.add(f"{way}, p50", "ms", [lag.p50_milliseconds for lag in seen])
        measurement.add(f"{way}, p99", "ms", [lag.p99_milliseconds for lag in seen])
        measurement.add(f"{way}, most ahead", "requests", [lag.most_ahead for lag in seen])
    return measurement


def _revoke(
    scene: Scene, supabase: LocalSupabase, backlog: Path, pace: Pace, delay_milliseconds: float
) -> _Lag:
    empty_memberships(supabase)
    # Rows that are there, and no part of the backlog.
    create_memberships(supabase, _BACKLOG, pace.count)
    with tempfile.TemporaryDirectory(dir=scene.folder) as folder:
        store = Path(folder) / "backlog.db"
        shutil.copy(backlog, store)
        with (
            run_recorder(
                scene.folder,
                supabase.url,
                delay_milliseconds=delay_milliseconds,
                processor=scene.load_processor,
            ) as recording,
            serve_relay(
                scene.folder, f"sqlite:///{store}", recording.url, supabase.secret_key
            ) as relay,
        ):
            recording.await_any_row(seconds=_ARRIVE_SECONDS)
            seen = run_load(
                Plan(
                    (relay.port,),
                    _CONNECTIONS,
                    pace.seconds,
                    scene.load_processor,
                    rate=pace.rate,
                    first_membership=_BACKLOG,
                    removal=True,
                )
            )
            keys = name_memberships(_BACKLOG, pace.count)
            arrived = recording.await_rows(keys, seconds=_ARRIVE_SECONDS, removal=True)
            if read_pending(relay.port) == 0:
                raise RuntimeError("the backlog was drained before the last revocation")
            return _read_lag(seen, pace, [arrived[key] for key in keys], recording)


def _read_lag(seen: Seen, pace: Pace, arrived: Sequence[float], recording: Recording) -> _Lag:
    answers = recording.list_answers()
    due = [seen.started_at + pace.due_after(number) for number in range(pace.count)]
    lags = sorted(there - sent for sent, there in zip(due, arrived, strict=True))
    return _Lag(
        pick_quantile(lags, 0.5) * 1000,
        pick_quantile(lags, 0.99) * 1000,
        max(
            sum(sent < answered < there for answered in answers)
            for sent, there in zip(due, arrived, strict=True)
        ),
    )
