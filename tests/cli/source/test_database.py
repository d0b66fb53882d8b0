"""Snapshots of a backend's database, on a real PostgreSQL."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from app.cli.errors import Rejected
from app.cli.source.database import MARGIN_SECONDS, read_database
from app.cli.source.queries import BUILT_IN_QUERIES, read_queries
from app.cli.source.snapshot import Snapshot
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.domain.instants import from_seconds, seconds_between
from tests.cli.source.backend import Backend, create_backend
from tests.cli.source.sides import ANA, BEN, CAT, OLD_TRIP, READER, TRIP, member, trip, user
from tests.postgres import PostgresServer


@pytest.fixture
def backend(postgres: PostgresServer) -> Backend:
    backend = create_backend(postgres)
    backend.insert(user(), user(BEN, "ben"), trip(), member(role="OWNER"), member(BEN))
    return backend


def keys(snapshot: Snapshot, kind: Kind) -> list[str]:
    return [row.key for row in snapshot.read_rows(kind)]


def test_rows_that_exist_are_read(backend: Backend) -> None:
    backend.insert(trip(OLD_TRIP), member(ANA, OLD_TRIP), member(CAT))
    backend.execute("update trips set deleted_at = now() where id = %s", [OLD_TRIP])
    backend.execute("update trip_memberships set deleted_at = now() where user_id = %s", [CAT])
    with Snapshot() as snapshot:
        read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)
        assert keys(snapshot, Kind.USER) == [ANA, BEN]
        assert keys(snapshot, Kind.TRIP) == [TRIP]
        assert keys(snapshot, Kind.MEMBERSHIP) == [f"{TRIP}/{ANA}", f"{TRIP}/{BEN}"]
        roles = [(row.role, row.status) for row in snapshot.read_rows(Kind.MEMBERSHIP)]
        assert roles == [("OWNER", "ACTIVE"), ("MEMBER", "ACTIVE")]


def test_trip_without_a_creator_has_the_id_of_nobody(backend: Backend) -> None:
    backend.execute("update trips set created_by = null")
    with Snapshot() as snapshot:
        read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)
        assert keys(snapshot, Kind.TRIP) == [TRIP]


def test_snapshot_is_as_of_a_minute_before_it_began(backend: Backend) -> None:
    before = from_seconds(time.time())
    with Snapshot() as snapshot:
        read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)
        assert abs(seconds_between(before, snapshot.at) + MARGIN_SECONDS) < 10


def test_all_rows_are_of_one_moment(backend: Backend) -> None:
    class Meanwhile(Mapping[Kind, str]):
        """Changes the database before the query of trips."""

        def __getitem__(self, kind: Kind) -> str:
            if kind is Kind.TRIP:
                backend.insert(trip(OLD_TRIP))
            return BUILT_IN_QUERIES[kind]

        def __iter__(self) -> Iterator[Kind]:
            return iter((Kind.USER, Kind.TRIP, Kind.MEMBERSHIP))

        def __len__(self) -> int:
            return 3

    with Snapshot() as snapshot:
        read_database(backend.url, Meanwhile(), snapshot, READER)
        assert keys(snapshot, Kind.TRIP) == [TRIP]


def test_other_schema_is_read_by_queries_of_a_file(backend: Backend, tmp_path: Path) -> None:
    backend.execute("create table seats (trip uuid, account uuid, state text)")
    backend.execute("insert into seats values (%s, %s, '100%% in')", [TRIP, BEN])
    path = tmp_path / "queries.sql"
    path.write_text(
        "-- users\nselect upper(id::text) as id, email, username, now() as seen_at from users;\n"
        "-- trips\nselect id, name, created_by from trips -- all of them\n"
        "-- memberships\nselect trip as trip_id, account as user_id, 'MEMBER' as role,\n"
        "  case when state like '100%' then 'ACTIVE' else 'INACTIVE' end as status from seats\n"
    )
    with Snapshot() as snapshot:
        read_database(backend.url, read_queries(path), snapshot, READER)
        assert keys(snapshot, Kind.USER) == [ANA, BEN]
        assert keys(snapshot, Kind.MEMBERSHIP) == [f"{TRIP}/{BEN}"]


def test_row_that_no_event_could_carry_is_named(backend: Backend) -> None:
    backend.execute("update users set email = '' where id = %s", [BEN])
    backend.execute("update trip_memberships set role = 'PILOT' where user_id = %s", [BEN])
    with Snapshot() as snapshot, pytest.raises(Rejected, match="2 rows") as caught:
        read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)
    assert caught.value.details[0] == "users, row 2: /data/email must not be empty"
    assert caught.value.details[1].startswith("memberships, row 2: /data/role must be one of")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select id from accounts", "relation \"accounts\" does not exist"),
        ("select 1 as id; select 2 as id", "syntax error"),
        ("delete from users returning id", "syntax error"),
        ("select nextval('relay_outbox_id_seq') as id", "read-only transaction"),
        ("select 1 / 0 as id", "division by zero"),
    ],
)  # fmt: skip
def test_query_that_fails_is_reported_and_changes_nothing(
    backend: Backend, query: str, reason: str
) -> None:
    queries = {**BUILT_IN_QUERIES, Kind.USER: query}
    with Snapshot() as snapshot, pytest.raises(ConfigurationInvalid, match=reason):
        read_database(backend.url, queries, snapshot, READER)


def test_row_that_a_query_returns_twice_is_an_error(backend: Backend) -> None:
    query = f"{BUILT_IN_QUERIES[Kind.USER]} union all {BUILT_IN_QUERIES[Kind.USER]}"
    with Snapshot() as snapshot, pytest.raises(Rejected) as caught:
        read_database(backend.url, {**BUILT_IN_QUERIES, Kind.USER: query}, snapshot, READER)
    assert caught.value.details == (
        "users, row 3: the source has this user twice",
        "users, row 4: the source has this user twice",
    )


def test_unreachable_database_is_reported() -> None:
    url = "postgresql://relay@127.0.0.1:9/none"
    with Snapshot() as snapshot, pytest.raises(ConfigurationInvalid, match="--source-db-url"):
        read_database(url, BUILT_IN_QUERIES, snapshot, READER)


def test_connection_is_closed(backend: Backend) -> None:
    with Snapshot() as snapshot:
        read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)
    with psycopg.connect(backend.url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'relay reconcile'"
            " and datname = current_database() and state <> 'idle'"
        ).fetchone()
    assert row == (0,)
