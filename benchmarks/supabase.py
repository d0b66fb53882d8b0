"""The real local Supabase that is written to: over a PostgreSQL, with every user and trip."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from app.demo.local_supabase import LocalSupabase, run_local_supabase
from benchmarks.machine import on_processors
from benchmarks.world import name_membership, name_parents
from tests.postgres import run_postgres


@contextmanager
def run_supabase_over_postgres(processors: Collection[int]) -> Iterator[LocalSupabase]:
    """Run it, and a durable PostgreSQL below it, on these processors.

    It belongs to one relay at a time: a second one would claim the fence from the first.
    """
    with ExitStack() as stack:
        with on_processors(processors):
            postgres = stack.enter_context(run_postgres())
            supabase = stack.enter_context(
                run_local_supabase(postgres_url=postgres.create_database())
            )
        _create_parents(supabase)
        yield supabase


def _create_parents(supabase: LocalSupabase) -> None:
    trips, users = name_parents()
    with _connect(supabase) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.users (id, email, username) VALUES (%s, %s, %s)",
            [(id_, f"{id_}@example.com", id_) for id_ in users],
        )
        cursor.executemany(
            "INSERT INTO public.trips (id, name, created_by) VALUES (%s, 'A trip', %s)",
            [(id_, users[0]) for id_ in trips],
        )


def create_memberships(supabase: LocalSupabase, first: int, count: int) -> None:
    """Have it hold some of the memberships of `benchmarks.world`."""
    with _connect(supabase) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO public.trip_memberships (trip_id, user_id, role, status)"
            " VALUES (%s, %s, 'MEMBER', 'ACTIVE')",
            [name_membership(number) for number in range(first, first + count)],
        )


def empty_memberships(supabase: LocalSupabase) -> None:
    """Have it hold no membership, so that every round writes new rows."""
    with _connect(supabase) as connection:
        connection.execute("TRUNCATE public.trip_memberships CASCADE")


def _connect(supabase: LocalSupabase) -> psycopg.Connection:
    return psycopg.connect(supabase.database_url or "")
