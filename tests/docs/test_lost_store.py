"""The guides' commands for a lost store and a moved one, on real databases."""

import re
import shutil
import subprocess
from pathlib import Path

import psycopg

from app.demo.local_supabase import LocalSupabase
from app.store.schema import metadata
from tests.docs.commands import (
    USER,
    USER_ID,
    await_settled,
    await_that,
    make_environment,
    read_health,
    region_of,
    run_region,
    run_script,
)
from tests.docs.conftest import SupabaseWire, run_relay
from tests.docs.pages import read_region
from tests.postgres import PostgresServer

BACKEND_TABLES = """
create table users (id uuid primary key, email text not null, username text not null);
create table trips (id uuid primary key, name text not null, created_by uuid,
  deleted_at timestamptz);
create table trip_memberships (trip_id uuid not null, user_id uuid not null, role text not null,
  status text not null, deleted_at timestamptz);
"""


ANA, BEN, GONE = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
TRIP, OLD_TRIP = (f"00000000-0000-4000-9000-00000000000{number}" for number in (1, 2))
IDS = {"ana": ANA, "ben": BEN, "gone": GONE, "trip": TRIP, "old": OLD_TRIP}
BACKEND_ROWS = (
    "insert into users values (%(ana)s, 'ana@example.com', 'ana'), (%(ben)s, 'b@example.com', 'b')",
    "insert into trips values (%(trip)s, 'Lisbon', %(ana)s, null), (%(old)s, 'Old', null, now())",
    "insert into trip_memberships values (%(trip)s, %(ana)s, 'OWNER', 'ACTIVE', null),"
    " (%(trip)s, %(ben)s, 'MEMBER', 'ACTIVE', now())",
)
# An outdated row, a missing one, and unknown ones of each kind.
SUPABASE_ROWS = (
    "truncate users, trips, trip_memberships cascade",
    "insert into users values (%(ana)s, 'old@example.com', 'ana'), (%(ben)s, 'b@example.com', 'b'),"
    " (%(gone)s, 'g@example.com', 'g')",
    "insert into trips values (%(trip)s, 'Lisbon', %(ana)s), (%(old)s, 'Old', %(ana)s)",
    "insert into trip_memberships values (%(trip)s, %(ben)s, 'MEMBER', 'ACTIVE'),"
    " (%(old)s, %(ana)s, 'MEMBER', 'ACTIVE')",
)


def insert(database_url: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode(), IDS)


def test_lost_store_is_rebuilt_and_unknown_rows_are_removed(
    tmp_path: Path, supabase_over_postgres: LocalSupabase, postgres: PostgresServer
) -> None:
    supabase_database = supabase_over_postgres.database_url
    assert supabase_database is not None
    backend_database = postgres.create_database()
    insert(backend_database, (*BACKEND_TABLES.split(";\n"), *BACKEND_ROWS))
    insert(supabase_database, SUPABASE_ROWS)
    key = supabase_over_postgres.secret_key
    with run_relay(tmp_path, supabase_over_postgres.url, SUPABASE_SECRET_KEY=key) as running:
        backend = {"BACKEND_DB_URL": backend_database}
        compared = run_region("snapshot", running, expected_code=1, **backend)
        assert "The relay differs from the source: 4 differences." in compared
        for name in ("snapshot.ndjson", "differences.ndjson"):
            assert oct((running.folder / name).stat().st_mode & 0o777) == "0o600"
        # The region compares before it repairs: that ends with 1.
        repair = region_of("drift-source").splitlines()[-1]
        repaired = run_script(f"{repair} --yes", tmp_path, make_environment(running) | backend)
        assert "The relay equals the source: 4 rows." in repaired
        await_settled(running)
        found = run_region("drift", running, expected_code=1)
        assert "unknown to the relay; repair: delete" in found
        plan = re.search(r"Plan (\w+): 4 removals", found)
        assert plan is not None, found
        # The member returns while the differences are reviewed.
        ids = (f"trip_id={TRIP}", f"user_id={BEN}")
        running.send("membership.created", *ids, "role=ADMIN", "status=ACTIVE", "--wait", "10")
        refused = run_script(
            f"relay reconcile --repair --yes --approve {plan[1]}",
            tmp_path,
            make_environment(running),
            expected_code=1,
        )
        assert "3 removals" not in refused
        assert f"the plan {plan[1]} is out of date" in refused
        removed = run_script(
            "relay reconcile --repair --yes --max-removals 3", tmp_path, make_environment(running)
        )
        assert "Supabase equals the desired state" in removed
        assert read_members(supabase_database) == [(TRIP, ANA, "OWNER"), (TRIP, BEN, "ADMIN")]
    with psycopg.connect(supabase_database) as supabase:
        users = supabase.execute("select id::text, email from users order by id").fetchall()
        trips = supabase.execute("select id::text from trips").fetchall()
    assert users == [(ANA, "ana@example.com"), (BEN, "b@example.com")]
    assert trips == [(TRIP,)]


def read_members(database_url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "select trip_id::text, user_id::text, role from trip_memberships order by user_id"
        ).fetchall()


def test_store_moved_to_postgresql_shows_its_dispatcher(
    tmp_path: Path, supabase_wire: SupabaseWire, database_url: str
) -> None:
    with run_relay(tmp_path, supabase_wire.url) as running:
        event = running.send("user.created", *USER, "--wait", "10")["event_id"]
    moved = run_region("move", running, NEW_STORE_URL=database_url)
    assert "Copied 1 event and 1 entity" in moved
    with run_relay(tmp_path, supabase_wire.url, STORE_URL=database_url) as running:
        await_that(lambda: read_health(running)["status"] == "ok", lambda: read_health(running))
        assert "/" in run_region("replicas", running, STORE_URL=database_url)
        shown = run_region("waiting", running, EVENT_ID=event, ENTITY=f"user/{USER_ID}")
        assert "applied" in shown
        if can_dump(database_url):
            run_region("backup-postgresql", running, STORE_URL=database_url)
            assert (tmp_path / "relay.dump").stat().st_size > 1000


def can_dump(database_url: str) -> bool:
    """Return whether pg_dump is at least as new as the server."""
    program = shutil.which("pg_dump")
    if program is None:
        return False
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    found = re.search(r"(\d+)\.", said.stdout)
    with psycopg.connect(database_url) as connection:
        return found is not None and int(found[1]) >= connection.info.server_version // 10_000


def test_role_of_the_page_has_every_privilege_that_a_relay_needs(
    tmp_path: Path, supabase_wire: SupabaseWire, database_url: str
) -> None:
    role = "relay_store"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"drop role if exists {role}")
        connection.execute(read_region("sql/role.sql#role").encode())
    _, _, place = database_url.partition("@")
    url = f"postgresql://{role}:change-me@{place}"
    try:
        with run_relay(tmp_path, supabase_wire.url, STORE_URL=url) as running:
            assert running.send("user.created", *USER, "--wait", "10")["status"] == "applied"
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            tables = connection.execute(
                "select count(*) from pg_tables where schemaname = %s", (role,)
            ).fetchone()
            connection.execute(f"drop owned by {role} cascade")
            connection.execute(f"drop role {role}")
    # Plus Alembic's table.
    assert tables == (len(metadata.tables) + 1,)
