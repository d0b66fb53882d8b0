"""Draining a backlog: how fast what is pending reaches Supabase, beside a bare loop."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from app.demo.local_supabase import LocalSupabase
from app.supabase.client import open_http_client
from benchmarks.figures import Measurement, run_in_turn
from benchmarks.filled_store import fill_backlog
from benchmarks.machine import on_processors
from benchmarks.processes import run_recorder, run_supabase, serve_relay
from benchmarks.recording import Recording
from benchmarks.scene import Scene
from benchmarks.supabase import empty_memberships, run_supabase_over_postgres
from benchmarks.world import name_membership, name_memberships

# As the relay does: one request after the other, each with this many rows.
REQUEST_ROWS: Final = 500
DISTANCE_MILLISECONDS: Final = 20
_BUDGET_MS: Final = 3000
_SINGLES: Final = 200
_QUICK_SINGLES: Final = 50
_AT_ONCE: Final = 4
_DRAIN_SECONDS: Final = 300.0
_TIMEOUT_SECONDS: Final = 60.0
_HEADERS: Final = {"Content-Type": "application/json"}

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
    """Measure how fast a backlog reaches Supabase, beside the same requests without a relay."""
    backlog = fill_backlog(scene, scene.backlog_entities)
    scene.report(f"draining {scene.backlog_entities:,} pending entities")
    with on_processors(scene.two_processors):
        with run_supabase_over_postgres(scene.two_processors) as supabase:
            near = _measure_near(scene, backlog, supabase)
            far = _measure_far(scene, backlog, supabase)
        return [near, far, _measure_alone(scene, backlog)]


def _measure_near(scene: Scene, backlog: Path, supabase: LocalSupabase) -> Measurement:
    singles = _QUICK_SINGLES if scene.is_quick else _SINGLES
    with run_recorder(scene.folder, supabase.url, delay_milliseconds=0) as recording:
        rates = _run(
            scene,
            supabase,
            {
                **_list_contenders(scene, backlog, recording, supabase.secret_key),
                "one": lambda: _send_singles(supabase, singles, at_once=1),
                "several": lambda: _send_singles(supabase, singles, at_once=_AT_ONCE),
            },
        )
    measurement = Measurement(
        "Draining into the local Supabase",
        f"{scene.backlog_entities:,} pending memberships, whose users and trips are there, from"
        f" the first answer to the last; the bare loop sends the same {REQUEST_ROWS} rows a request"
        f" with httpx, one request after the other; a request for each row is an upsert of"
        f" PostgREST's, {singles} of them; everything shares two processors",
    )
    _add_rates(measurement, rates)
    measurement.add_ratio("relay / a request for each row", rates["relay"], rates["one"])
    measurement.add_ratio(
        f"relay / a request for each row, {_AT_ONCE} at once", rates["relay"], rates["several"]
    )
    measurement.add("a request for each row", "rows/s", rates["one"])
    measurement.add(f"a request for each row, {_AT_ONCE} at once", "rows/s", rates["several"])
    return measurement


def _measure_far(scene: Scene, backlog: Path, supabase: LocalSupabase) -> Measurement:
    with run_recorder(
        scene.folder, supabase.url, delay_milliseconds=DISTANCE_MILLISECONDS
    ) as recording:
        rates = _run(
            scene, supabase, _list_contenders(scene, backlog, recording, supabase.secret_key)
        )
    measurement = Measurement(
        f"Draining, Supabase {DISTANCE_MILLISECONDS} ms away",
        f"the same, and a proxy adds {DISTANCE_MILLISECONDS} ms to every round trip",
    )
    _add_rates(measurement, rates)
    return measurement


def _measure_alone(scene: Scene, backlog: Path) -> Measurement:
    with (
        run_supabase(scene.folder) as url,
        run_recorder(scene.folder, url, delay_milliseconds=0) as recording,
    ):
        drained = run_in_turn(
            {"relay": lambda: _drain(scene, backlog, recording, "sb_secret_benchmark")},
            _count_rounds(scene),
            warm_up=False,
        )["relay"]
    measurement = Measurement(
        "Draining into what accepts all at once",
        "the same, into a stand-in that looks at no row; what is left is the relay's own work",
    )
    measurement.add("relay", "entities/s", [one.rate for one in drained])
    costs = [one.processor_microseconds for one in drained]
    measurement.add("relay, processor time an entity", "µs", costs)
    return measurement


def _list_contenders(
    scene: Scene, backlog: Path, recording: Recording, key: str
) -> dict[str, Callable[[], float]]:
    requests = [
        write_operations(first, min(REQUEST_ROWS, scene.backlog_entities - first))
        for first in range(0, scene.backlog_entities, REQUEST_ROWS)
    ]

    def loop() -> float:
        asyncio.run(_apply_all(recording.url, key, requests))
        return _read_rate(scene, recording)

    return {"relay": lambda: _drain(scene, backlog, recording, key).rate, "loop": loop}


def _run(
    scene: Scene, supabase: LocalSupabase, contenders: dict[str, Callable[[], float]]
) -> dict[str, list[float]]:
    def start_empty(contender: Callable[[], float]) -> float:
        empty_memberships(supabase)
        return contender()

    return run_in_turn(
        {
            name: lambda contender=contender: start_empty(contender)  # type: ignore[misc]
            for name, contender in contenders.items()
        },
        _count_rounds(scene),
        warm_up=False,
    )


def _add_rates(measurement: Measurement, rates: dict[str, list[float]]) -> None:
    measurement.add_ratio("relay / bare loop", rates["relay"], rates["loop"])
    measurement.add("relay", "entities/s", rates["relay"])
    measurement.add("bare loop", "rows/s", rates["loop"])


def _count_rounds(scene: Scene) -> int:
    """Return fewer rounds than elsewhere: each is long enough to average out other load."""
    return max(1, scene.rounds - 1)


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


def _read_rate(scene: Scene, recording: Recording) -> float:
    keys = name_memberships(0, scene.backlog_entities)
    arrived = recording.await_rows(keys, seconds=_DRAIN_SECONDS)
    first, last = min(arrived.values()), max(arrived.values())
    # Those of the first response were written before.
    return sum(answered_at > first for answered_at in arrived.values()) / (last - first)


async def _apply_all(url: str, key: str, requests: Sequence[bytes]) -> None:
    """Claim the fence and send every request, with the client that the relay has."""
    async with open_http_client(url, {"apikey": key}, timeout_seconds=_TIMEOUT_SECONDS) as http:
        claimed = await _call(
            http, "relay_claim", json.dumps({"request": json.dumps({"protocol": 1})}).encode()
        )
        for sequence, operations in enumerate(requests, start=1):
            body = write_request(claimed["epoch"], sequence, operations)
            answer = await _call(http, "relay_apply", body)
            if answer != {"sequence": sequence, "failures": [], "not_tried": []}:
                raise RuntimeError(f"rows were not applied: {answer}")


async def _call(http: httpx.AsyncClient, function: str, body: bytes) -> dict[str, Any]:
    response = await http.post(f"/rpc/{function}", headers=_HEADERS, content=body)
    response.raise_for_status()
    document: dict[str, Any] = response.json()
    return document


def write_operations(first: int, count: int) -> bytes:
    """Write the operations of a request ahead of time, as in its body."""
    operation = {
        "operation": "upsert",
        "table": "public.trip_memberships",
        "key": ["trip_id", "user_id"],
        "rows": _list_rows(first, count),
    }
    return _escape(json.dumps([operation], separators=(",", ":")))


def write_request(epoch: int, sequence: int, operations: bytes) -> bytes:
    """Write the body of a request: JSON text that is a string of JSON."""
    fence = f'{{"epoch":{epoch},"sequence":{sequence},"budget_ms":{_BUDGET_MS},"operations":'
    return b'{"request":"%b%b}"}' % (_escape(fence), operations)


def _escape(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def _list_rows(first: int, count: int) -> list[dict[str, str]]:
    memberships = map(name_membership, range(first, first + count))
    # Sorted, as the relay has them.
    return [
        {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}
        for trip_id, user_id in sorted(memberships)
    ]


def _send_singles(supabase: LocalSupabase, count: int, *, at_once: int) -> float:
    """Upsert row by row, as a backend without a relay does, and give the rate."""
    # Directly to Supabase: without a relay, no recorder is needed.
    bodies = [json.dumps(row).encode() for row in _list_rows(0, count)]
    started = time.perf_counter()
    asyncio.run(_upsert_all(supabase, bodies, at_once=at_once))
    return count / (time.perf_counter() - started)


async def _upsert_all(supabase: LocalSupabase, bodies: Sequence[bytes], *, at_once: int) -> None:
    remaining = iter(bodies)
    headers = {"apikey": supabase.secret_key}
    async with open_http_client(supabase.url, headers, timeout_seconds=_TIMEOUT_SECONDS) as http:

        async def send() -> None:
            for body in remaining:
                answer = await http.post(
                    "/trip_memberships",
                    params={"on_conflict": "trip_id,user_id"},
                    headers={
                        **_HEADERS,
                        "Prefer": "resolution=merge-duplicates,return=minimal",
                    },
                    content=body,
                )
                answer.raise_for_status()

        await asyncio.gather(*(send() for _ in range(at_once)))
