"""The size of an event on disk, in SQLite and in PostgreSQL."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.backfill import send_batches
from benchmarks.figures import Measurement
from benchmarks.machine import on_processor
from benchmarks.processes import run_supabase, serve_relay
from benchmarks.requests import draw_memberships
from benchmarks.scene import Scene
from benchmarks.settling import wait_until_settled
from tests.postgres import PostgresServer

_EVENTS: Final = 20_000
_EVENTS_IF_QUICK: Final = 2_000


def measure_sqlite_disk(scene: Scene) -> Measurement:
    """Measure the bytes that an event adds to the file."""
    path = scene.folder / "disk.db"
    return _measure(scene, "Disk, SQLite", f"sqlite:///{path}", lambda: _read_sqlite(path))


def measure_postgres_disk(scene: Scene, postgres: PostgresServer) -> Measurement:
    """Measure the bytes that an event adds to the database."""
    url = postgres.create_database()
    return _measure(scene, "Disk, PostgreSQL", url, lambda: _read_postgres(url))


def _measure(scene: Scene, name: str, store_url: str, read: Callable[[], int]) -> Measurement:
    count = _EVENTS_IF_QUICK if scene.is_quick else _EVENTS
    scene.report(f"{name.lower()}: {2 * count:,} events")
    memberships = list(draw_memberships(count))
    with (
        run_supabase(scene.folder, processor=scene.load_processor) as supabase,
        serve_relay(scene.folder, store_url, supabase) as relay,
        on_processor(scene.load_processor),
    ):
        sizes = [read()]
        for _ in range(2):
            for _ in send_batches(relay.port, memberships):
                pass
            wait_until_settled(relay.port)
            sizes.append(read())
    grown = [(after - before) / count for before, after in pairwise(sizes)]
    measurement = Measurement(
        name,
        f"what the store has grown by, indexes included, once all is applied: {count:,} events of"
        " new memberships, then as many of the same ones",
    )
    measurement.add("an event of a new membership", "bytes", grown[:1])
    measurement.add("an event of a known membership", "bytes", grown[1:])
    return measurement


def _read_sqlite(path: Path) -> int:
    """Return the bytes of the pages in use, including those in the write-ahead log."""
    with closing(sqlite3.connect(path)) as connection:
        pages, free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * page_bytes)


def _read_postgres(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        # As autovacuum would: the room of rows that were changed is used again.
        connection.execute("VACUUM")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0
