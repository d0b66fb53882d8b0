"""Draining a backlog: a relay that comes back to a Supabase that comes back."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from app.supabase.client import open_http_client
from benchmarks.figures import Measurement, run_in_turn
from benchmarks.filled_store import fill_backlog
from benchmarks.machine import on_one_processor
from benchmarks.processes import run_recorder, run_supabase, serve_relay
from benchmarks.recording import Recording
from benchmarks.scene import Scene
from benchmarks.supabase import empty_memberships, run_supabase_over_postgres
from benchmarks.world import name_membership, name_memberships

# As the relay does: so many rows a request, one request after the other.
_ROWS: Final = 500
_SINGLES: Final = 500
_QUICK_SINGLES: Final = 100
# As many connections as the client keeps.
_AT_ONCE: Final = 4
_DRAIN_SECONDS: Final = 300.0
_PARAMETERS: Final = {
    "on_conflict": "trip_id,user_id",
    "columns": "trip_id,user_id,role,status",
}
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Prefer": "resolution=merge-duplicates,return=minimal,missing=default",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Drained:
    """What one drain came to.

    Attributes:
        rate: entities a second, from the first answer to the last.
        processor_microseconds: of the relay, for each entity.
    """

    rate: float
    processor_microseconds: float


def measure_draining(scene: Scene) -> list[Measurement]:
    """Measure how fast a backlog reaches Supabase, beside the same rows sent without a relay."""
    backlog = fill_backlog(scene)
    scene.report(f"draining {scene.backlog_entities:,} pending entities")
    with on_one_processor():
        return [_measure_real(scene, backlog), _measure_alone(scene, backlog)]


def _measure_real(scene: Scene, backlog: Path) -> Measurement:
    bodies = _write_bodies(scene.backlog_entities, rows=_ROWS)
    singles = _write_bodies(_QUICK_SINGLES if scene.is_quick else _SINGLES, rows=1)
    with (
        run_supabase_over_postgres(scene.load_processor) as supabase,
        run_recorder(
            scene.folder, supabase.url, delay_milliseconds=0, processor=scene.load_processor
        ) as recording,
    ):
        key = supabase.secret_key

        def start_empty(contender: Callable[[], T]) -> T:
            empty_memberships(supabase)
            return contender()

        def send_singles(at_once: int) -> float:
            # Straight to Supabase: without a relay there is no recorder to pay for.
            started = time.perf_counter()
            asyncio.run(_send_all(supabase.url, key, singles, at_once=at_once))
            return len(singles) / (time.perf_counter() - started)

        rates: dict[str, list[float]] = run_in_turn(
            {
                "relay": lambda: start_empty(lambda: _drain(scene, backlog, recording, key).rate),
                "loop": lambda: start_empty(lambda: _loop(scene, recording, key, bodies)),
                "one": lambda: start_empty(lambda: send_singles(1)),
                "several": lambda: start_empty(lambda: send_singles(_AT_ONCE)),
            },
            _count_rounds(scene),
            warm_up=False,
        )
    measurement = Measurement(
        "Draining into the local Supabase",
        f"{scene.backlog_entities:,} pending memberships, whose users and trips are there, from"
        f" the first answer to the last; the bare loop sends the same {_ROWS} rows a request,"
        f" ready-made, with httpx; one by one, {len(singles)} of them; Supabase is on the load's"
        " processor",
    )
    measurement.add_ratio("relay / bare loop", rates["relay"], rates["loop"])
    measurement.add_ratio("relay / a request for each row", rates["relay"], rates["one"])
    measurement.add_ratio(
        f"relay / a request for each row, {_AT_ONCE} at once", rates["relay"], rates["several"]
    )
    measurement.add("relay", "entities/s", rates["relay"])
    measurement.add("bare loop", "rows/s", rates["loop"])
    measurement.add("a request for each row", "rows/s", rates["one"])
    measurement.add(f"a request for each row, {_AT_ONCE} at once", "rows/s", rates["several"])
    return measurement


def _measure_alone(scene: Scene, backlog: Path) -> Measurement:
    key = "sb_secret_benchmark"
    bodies = _write_bodies(scene.backlog_entities, rows=_ROWS)
    with (
        run_supabase(scene.folder, processor=scene.load_processor) as url,
        run_recorder(
            scene.folder, url, delay_milliseconds=0, processor=scene.load_processor
        ) as recording,
    ):
        drained: list[_Drained] = []

        def drain() -> float:
            drained.append(_drain(scene, backlog, recording, key))
            return drained[-1].rate

        rates = run_in_turn(
            {"relay": drain, "loop": lambda: _loop(scene, recording, key, bodies)},
            _count_rounds(scene),
            warm_up=False,
        )
    measurement = Measurement(
        "Draining into what takes all at once",
        "the same; what is left is the relay's own work",
    )
    measurement.add_ratio("relay / bare loop", rates["relay"], rates["loop"])
    measurement.add("relay", "entities/s", rates["relay"])
    measurement.add("bare loop", "rows/s", rates["loop"])
    costs = [one.processor_microseconds for one in drained]
    measurement.add("relay, processor time an entity", "µs", costs)
    return measurement


def _count_rounds(scene: Scene) -> int:
    """Give fewer than elsewhere: each takes long, so that what else the machine does evens out."""
    return max(1, scene.rounds // 2)


def _drain(scene: Scene, backlog: Path, recording: Recording, key: str) -> _Drained:
    """Start a relay on a copy of the backlog, and wait until Supabase holds all of it."""
    with tempfile.TemporaryDirectory(dir=scene.folder) as folder:
        store = Path(folder) / "backlog.db"
        shutil.copy(backlog, store)
        with serve_relay(scene.folder, f"sqlite:///{store}", recording.url, key) as relay:
            before = relay.read_processor_seconds()
            rate = _read_rate(scene, recording)
            seconds = relay.read_processor_seconds() - before
    return _Drained(rate, seconds / scene.backlog_entities * 1_000_000)


def _loop(scene: Scene, recording: Recording, key: str, bodies: Sequence[bytes]) -> float:
    asyncio.run(_send_all(recording.url, key, bodies))
    return _read_rate(scene, recording)


async def _send_all(url: str, key: str, bodies: Sequence[bytes], *, at_once: int = 1) -> None:
    """Send every body, with the client that the relay has."""
    remaining = iter(bodies)
    async with open_http_client(url, {"apikey": key}, timeout_seconds=60) as http:

        async def send() -> None:
            for body in remaining:
                answer = await http.post(
                    "/trip_memberships", params=_PARAMETERS, headers=_HEADERS, content=body
                )
                answer.raise_for_status()

        await asyncio.gather(*(send() for _ in range(at_once)))


def _read_rate(scene: Scene, recording: Recording) -> float:
    keys = name_memberships(0, scene.backlog_entities)
    arrived = recording.await_rows(keys, seconds=_DRAIN_SECONDS)
    first, last = min(arrived.values()), max(arrived.values())
    # Those of the first answer were written before.
    return sum(answered_at > first for answered_at in arrived.values()) / (last - first)


def _write_bodies(count: int, *, rows: int) -> list[bytes]:
    bodies = []
    for start in range(0, count, rows):
        memberships = map(name_membership, range(start, min(start + rows, count)))
        # Sorted, as the relay has them.
        body = [
            {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}
            for trip_id, user_id in sorted(memberships)
        ]
        bodies.append(json.dumps(body, separators=(",", ":")).encode())
    return bodies
