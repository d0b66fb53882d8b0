"""The check for drift: what it costs the relay, and what it delays."""

import asyncio
import random
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from app.demo.local_supabase import LocalSupabase
from app.store.store import Store
from benchmarks.figures import Measurement
from benchmarks.machine import on_processors
from benchmarks.operators import Document, Operator
from benchmarks.processes import Server, serve_relay
from benchmarks.requests import make_requests, make_uuid
from benchmarks.scene import Scene
from benchmarks.supabase import run_supabase_over_postgres

_MEMBERS_PER_TRIP: Final = 10
_EDITED: Final = 20
_ALONE_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.25
_INSERT_APPLIED: Final = """
INSERT INTO entities
    (kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority, revision,
     pending_since, due_at, attempts, awaits_parent, applied_at)
VALUES
    ('membership', ?, ?, 1760000000000000, FALSE, 1, ?, 'applied', 1, 1,
     0, 0, 0, FALSE, 1760000000000000)
"""
_ROW: Final = '{{"trip_id":"{}","user_id":"{}","role":"MEMBER","status":"ACTIVE"}}'
# Only memberships are compared: users and trips would say the same.
_EMPTY: Final = """
ALTER TABLE public.trip_memberships DROP CONSTRAINT trip_memberships_trip_id_fkey;
ALTER TABLE public.trip_memberships DROP CONSTRAINT trip_memberships_user_id_fkey;
TRUNCATE public.trips, public.users CASCADE
"""
_EDIT: Final = f"""
UPDATE public.trip_memberships SET role = 'OWNER' WHERE (trip_id, user_id) IN
    (SELECT trip_id, user_id FROM public.trip_memberships ORDER BY user_id LIMIT {_EDITED})
"""  # noqa: S608 - a constant
_DIGEST: Final = """
SELECT public.relay_digest('{"tables": [{"table": "public.trip_memberships", "thresholds": [],
    "key": ["trip_id", "user_id"], "columns": ["role", "status"]}]}')
"""

Membership = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Check:
    """What one check came to, in seconds.

    Attributes:
        processor: of the relay, until the check has finished and its repair is applied.
    """

    processor: float
    duration: float


def measure_drift(scene: Scene) -> list[Measurement]:
    """Measure a check of many memberships, and revocations that arrive meanwhile.

    Raises:
        RuntimeError: a check failed, or found other rows than were edited.
    """
    count = 20_000 if scene.is_quick else 500_000
    scene.report(f"drift: {count:,} memberships, compared with the local Supabase")
    memberships = _draw(count)
    store = scene.folder / "drift.db"
    _fill_store(store, memberships)
    with (
        on_processors(scene.two_processors),
        run_supabase_over_postgres(scene.two_processors) as supabase,
    ):
        _fill_supabase(supabase, memberships)
        url = f"sqlite:///{store}"
        with serve_relay(scene.folder, url, supabase.url, supabase.secret_key) as relay:
            revoked = iter(memberships)
            checks = scene.run_in_turn(
                {
                    "equal": lambda: _check(relay, differences=0),
                    "edited": lambda: _check_edited(relay, supabase),
                }
            )
            slowest = scene.run_in_turn(
                {
                    "alone": lambda: _revoke_alone(relay, revoked),
                    "checked": lambda: _revoke_during_check(relay, revoked),
                }
            )
        digests = scene.run_in_turn({"digest": lambda: _time_digest(supabase)})["digest"]
    measurement = Measurement(
        "Checking for drift",
        f"{count:,} memberships of {count // _MEMBERS_PER_TRIP:,} trips in the store and in the"
        f" local Supabase over PostgreSQL; {_EDITED} are edited past the relay, and repaired; the"
        " slowest of the revocations that were sent one after the other, each until it was applied",
    )
    for name, text in (("equal", "a check"), ("edited", f"a check, {_EDITED} rows edited")):
        measurement.add(f"{text}, processor", "s", [check.processor for check in checks[name]])
        measurement.add(f"{text}, duration", "s", [check.duration for check in checks[name]])
    measurement.add("relay_digest alone", "s", digests)
    for name, text in (("alone", "no check"), ("checked", "during a check")):
        measurement.add(f"slowest revocation, {text}", "ms", [1000 * it for it in slowest[name]])
    return [measurement]


def _draw(count: int) -> list[Membership]:
    source = random.Random(5)  # noqa: S311
    trips = [make_uuid(source) for _ in range(count // _MEMBERS_PER_TRIP)]
    return [(trips[number % len(trips)], make_uuid(source)) for number in range(count)]


def _fill_store(path: Path, memberships: Sequence[Membership]) -> None:
    async def create() -> None:
        await (await Store.open(f"sqlite:///{path}")).close()

    asyncio.run(create())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            _INSERT_APPLIED,
            ((f"{trip}/{user}", user, _ROW.format(trip, user)) for trip, user in memberships),
        )


def _fill_supabase(supabase: LocalSupabase, memberships: Sequence[Membership]) -> None:
    with _connect(supabase) as connection, connection.cursor() as cursor:
        cursor.execute(_EMPTY)
        with cursor.copy("COPY public.trip_memberships FROM STDIN") as copy:
            for trip, user in memberships:
                copy.write_row((trip, user, "MEMBER", "ACTIVE"))


def _check_edited(relay: Server, supabase: LocalSupabase) -> _Check:
    with _connect(supabase) as connection:
        connection.execute(_EDIT)
    return _check(relay, differences=_EDITED)


def _check(relay: Server, *, differences: int) -> _Check:
    before, started = relay.read_processor_seconds(), time.perf_counter()
    with closing(Operator(relay.port)) as operator:
        report = operator.reconcile(repair=True)
        while report["status"] == "running":
            time.sleep(_POLL_SECONDS)
            report = operator.get(f"/reconcile/{report['reconcile_id']}")
        duration = time.perf_counter() - started
        _require(report, differences)
        while operator.get("/health")["backlog"]["pending"]:
            time.sleep(_POLL_SECONDS)
    return _Check(relay.read_processor_seconds() - before, duration)


def _require(report: Document, differences: int) -> None:
    if report["status"] != "completed" or report["differences"] != differences:
        raise RuntimeError(f"the check found something else: {report}")


def _revoke_alone(relay: Server, revoked: Iterator[Membership]) -> float:
    started = time.perf_counter()
    slowest = 0.0
    while time.perf_counter() - started < _ALONE_SECONDS:
        slowest = max(slowest, _revoke(relay, next(revoked)))
    return slowest


def _revoke_during_check(relay: Server, revoked: Iterator[Membership]) -> float:
    slowest = 0.0
    with closing(Operator(relay.port)) as operator:
        report = operator.reconcile()
        while report["status"] == "running":
            slowest = max(slowest, _revoke(relay, next(revoked)))
            report = operator.get(f"/reconcile/{report['reconcile_id']}")
    _require(report, 0)
    return slowest


def _revoke(relay: Server, membership: Membership) -> float:
    """Return how many seconds a revocation took until it was applied."""
    (request,) = make_requests([membership], removal=True)
    request = request.replace(b"\r\n\r\n", b"\r\nPrefer: wait=30\r\nConnection: close\r\n\r\n", 1)
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=60) as wire:
        wire.sendall(request)
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    if b'"applied"' not in answer:
        raise RuntimeError(f"a revocation was not applied: {answer!r}")
    return time.perf_counter() - started


def _time_digest(supabase: LocalSupabase) -> float:
    with _connect(supabase) as connection:
        started = time.perf_counter()
        connection.execute(_DIGEST)
        return time.perf_counter() - started


def _connect(supabase: LocalSupabase) -> psycopg.Connection:
    # The project's own timeout is for requests; filling takes longer.
    return psycopg.connect(supabase.database_url or "", options="-c statement_timeout=0")
