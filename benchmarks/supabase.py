"""The real local Supabase that is written to: over a PostgreSQL, with every user and trip."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import httpx
import psycopg

from app.cli.local_supabase import LocalSupabase, run_local_supabase
from benchmarks.machine import on_processor
from benchmarks.world import name_parents
from tests.postgres import run_postgres

_ROWS: Final = 500


@contextmanager
def run_supabase_over_postgres(processor: int) -> Iterator[LocalSupabase]:
    """Run it on a processor of its own: what it costs is not the relay's."""
    with ExitStack() as stack:
        with on_processor(processor):
            postgres = stack.enter_context(run_postgres())
            supabase = stack.enter_context(
                run_local_supabase(postgres_url=postgres.create_database())
            )
        _create_parents(supabase)
        yield supabase


def _create_parents(supabase: LocalSupabase) -> None:
    trips, users = name_parents()
    tables = {
        "users": [{"id": id_, "email": f"{id_}@example.com", "username": id_} for id_ in users],
        "trips": [{"id": id_, "name": "A trip", "created_by": users[0]} for id_ in trips],
    }
    headers = {"apikey": supabase.secret_key, "Content-Type": "application/json"}
    with httpx.Client(base_url=f"{supabase.url}/rest/v1", headers=headers, trust_env=False) as rest:
        for table, rows in tables.items():
            for start in range(0, len(rows), _ROWS):
                content = json.dumps(rows[start : start + _ROWS])
                rest.post(f"/{table}", content=content, timeout=60).raise_for_status()


def empty_memberships(supabase: LocalSupabase) -> None:
    """Have it hold no membership: the local Supabase takes rows that it holds far more slowly."""
    with psycopg.connect(supabase.database_url or "", autocommit=True) as connection:
        connection.execute("TRUNCATE public.trip_memberships CASCADE")
