"""A store with many events, made once and kept as long as the schema stays the same."""

import asyncio
import hashlib
import inspect
import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from app.domain.events import EventId, EventType, make_event
from app.domain.instants import Instant
from app.store import receive, schema
from app.store.store import Store
from benchmarks.requests import make_event_id, make_uuid
from benchmarks.scene import Scene
from benchmarks.world import name_membership

_BEGIN: Final = 1_760_000_000_000_000
_BATCH: Final = 1000
_TRIPS_PER_ENTITY: Final = 0.1
_DEAD: Final = 200
_PENDING: Final = 500
_REVOCATIONS: Final = 10_000
# A week of them.
_REVOCATION_STEP: Final = 60_000_000


def fill_store(scene: Scene) -> Path:
    """Give the path of a store as large as the scene wants it; it is not to be written to."""

    def fill(path: Path) -> None:
        scene.report(f"filling a store with {scene.stored_events:,} events, once")
        asyncio.run(_fill(path, scene))
        _settle(path)

    return _keep(scene.cache, f"{scene.stored_events}-{scene.stored_entities}", fill)


def fill_backlog(scene: Scene, entities: int) -> Path:
    """Return the path of a store with this many pending memberships; do not write to it."""

    def fill(path: Path) -> None:
        scene.report(f"filling a store with {entities:,} pending entities, once")
        asyncio.run(_fill_backlog(path, entities))

    return _keep(scene.cache, f"backlog-{entities}", fill)


def _keep(cache: Path, name: str, fill: Callable[[Path], None]) -> Path:
    path = cache / f"{name}-{_digest_sources()}.db"
    if not path.exists():
        partial = path.with_suffix(".partial")
        for suffix in ("", "-wal", "-shm", ".lock"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)
        fill(partial)
        with closing(sqlite3.connect(partial)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        partial.rename(path)
        Path(f"{partial}.lock").unlink(missing_ok=True)
    return path


def _digest_sources() -> str:
    digest = hashlib.sha256()
    for module in (schema, receive):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:12]


async def _fill(path: Path, scene: Scene) -> None:
    source = random.Random(2)  # noqa: S311
    groups = max(1, round(scene.stored_entities * _TRIPS_PER_ENTITY))
    trips = [make_uuid(source) for _ in range(groups)]
    users = [make_uuid(source) for _ in range(groups)]
    pairs = [(source.choice(trips), source.choice(users)) for _ in range(scene.stored_entities)]
    store = await Store.open(f"sqlite:///{path}")
    try:
        for batch in range(scene.stored_events // _BATCH):
            received_at = Instant(_BEGIN + batch * 1_000_000)
            events = []
            for number in range(_BATCH):
                trip_id, user_id = source.choice(pairs)
                is_new = source.random() < 0.9
                kind = EventType.MEMBERSHIP_CREATED if is_new else EventType.MEMBERSHIP_UPDATED
                row = {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}
                event_id = EventId(make_event_id(source, received_at / 1_000_000))
                occurred_at = Instant(received_at + number)
                events.append(make_event(event_id, kind, occurred_at, row, os.urandom(32)))
            await store.store_events(events, received_at)
    finally:
        await store.close()


async def _fill_backlog(path: Path, entities: int) -> None:
    source = random.Random(4)  # noqa: S311
    store = await Store.open(f"sqlite:///{path}")
    try:
        for first in range(0, entities, _BATCH):
            received_at = Instant(_BEGIN + first)
            events = []
            for number in range(first, min(first + _BATCH, entities)):
                trip_id, user_id = name_membership(number)
                row = {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}
                event_id = EventId(make_event_id(source, received_at / 1_000_000))
                events.append(
                    make_event(
                        event_id, EventType.MEMBERSHIP_CREATED, received_at, row, os.urandom(32)
                    )
                )
            await store.store_events(events, received_at)
    finally:
        await store.close()


def _settle(path: Path) -> None:
    """Have nearly all of it applied, as after some weeks."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE entities SET state = 'applied', applied_sequence = sequence")
        for state, count in (("dead", _DEAD), ("pending", _PENDING)):
            connection.execute(
                "UPDATE entities SET state = ? WHERE (kind, key) IN"
                " (SELECT kind, key FROM entities WHERE state = 'applied' ORDER BY key LIMIT ?)",
                (state, count),
            )
        connection.execute(
            "UPDATE entities SET last_error_code = '23514', attempts = 1,"
            ' last_error = \'new row for relation "users" violates check constraint "c"\''
            " WHERE state = 'dead'"
        )
        # Revocations of the last days, as the console measures them.
        connection.execute(
            "INSERT INTO revocations (key, occurred_at, received_at, applied_at)"
            " SELECT key, :now - number * :step, :now - number * :step, :now - number * :step"
            "   + 20000 + number % 1000 * 100 FROM (SELECT key, row_number() OVER () AS number"
            " FROM entities WHERE kind = 'membership' LIMIT :count)",
            {
                "now": int(time.time() * 1_000_000),
                "step": _REVOCATION_STEP,
                "count": _REVOCATIONS,
            },
        )
    connection.close()
