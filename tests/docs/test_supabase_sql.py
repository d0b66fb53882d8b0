"""The SQL of docs/guides/supabase.md works as described, on tables of a real project."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.supabase.policy_pack.description import read_tables
from app.supabase.policy_pack.rendering import render_pack
from tests.contract.database import (
    PUBLISHED,
    REFUSED,
    Database,
    Refused,
    create_project_database,
    open_database,
)
from tests.docs.pages import read_region
from tests.postgres import PostgresServer

# Opens the tables in the ways that the page names.
OPEN = """
    alter table public.trips enable row level security;
    create policy "who is not deleted reads" on public.trips for select to authenticated
      using (exists (
        select 1 from public.trip_memberships as membership
        where membership.trip_id = trips.id and membership.user_id = auth.uid()
          and membership.deleted_at is null
      ));
    create policy "an ""odd"" name" on public.trips for all to public
      using (created_by = auth.uid());
"""


@pytest.fixture(scope="module")
def _existing(postgres: PostgresServer) -> Iterator[Database]:
    with open_database(create_project_database(postgres, migrations=[PUBLISHED])) as database:
        database.run_script(OPEN)
        yield database


@pytest.fixture
def existing(_existing: Database) -> Iterator[Database]:
    """Return a project with its own tables."""
    with _existing.rolled_back() as database:
        yield database


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """Return the SQL for the file on the page."""
    path = tmp_path / "tables.toml"
    path.write_text(read_region("toml/tables.toml#tables"))
    return "\n".join(part.sql for part in render_pack(read_tables(path), "By a test."))


def create_member(
    database: Database, *, status: str = "ACTIVE", deleted: bool = False
) -> tuple[UUID, UUID]:
    """Return a trip with a message, and one of its members."""
    trip_id, user_id, fellow_id = uuid4(), uuid4(), uuid4()
    for person in (user_id, fellow_id):
        database.run(
            "insert into users (id, supabase_id, email, username) values ($1, $1, $2, $2)",
            person,
            str(person),
        )
    database.run(
        "insert into trips (id, name, start_date, end_date, destination_latitude,"
        " destination_longitude, created_by) values ($1, 'Rome', now(), now(), 0, 0, $2)",
        trip_id,
        fellow_id,
    )
    database.run(
        "insert into trip_memberships (trip_id, user_id, role, status, deleted_at)"
        " values ($1, $2, 'MEMBER', $3::membership_status, case when $4::boolean then now() end)",
        trip_id,
        user_id,
        status,
        deleted,
    )
    database.run(
        "insert into supabase_chat_messages (trip_id, user_id, message)"
        " values ($1, $2, 'Colosseum?')",
        trip_id,
        fellow_id,
    )
    return trip_id, user_id


def test_audit_shows_open_tables_before_and_none_afterwards(existing: Database, pack: str) -> None:
    audit = read_region("sql/supabase.sql#audit").strip().removesuffix(";")
    before = {row["table"]: row for row in existing.run(audit)}
    assert {name: row["has_rls"] for name, row in before.items()} == {
        "users": False,
        "trips": True,
        "trip_memberships": False,
    }
    assert all(row["users_may_write"] and row["anon_may_try"] for row in before.values())
    assert before["trips"]["policies"] == 'an "odd" name (ALL), who is not deleted reads (SELECT)'

    existing.run_script(pack)

    after = {row["table"]: row for row in existing.run(audit)}
    assert all(row["has_rls"] for row in after.values())
    assert not any(row["users_may_write"] or row["anon_may_try"] for row in after.values())
    assert {name: row["policies"] for name, row in after.items()} == {
        "users": "own account is readable (SELECT)",
        "trips": "own trips are readable (SELECT)",
        "trip_memberships": "own memberships and fellow members are readable (SELECT)",
    }


@pytest.mark.parametrize(
    ("status", "deleted", "is_let_in"),
    [("ACTIVE", False, True), ("INACTIVE", False, False), ("ACTIVE", True, False)],
)
def test_page_followed_admits_only_active_members(
    existing: Database, pack: str, status: str, deleted: bool, is_let_in: bool
) -> None:
    trip_id, user_id = create_member(existing, status=status, deleted=deleted)
    existing.run_script(pack)

    with existing.as_caller("authenticated", user_id):
        trips = existing.run("select name from trips")
        messages = existing.run("select message from supabase_chat_messages")
        (is_member,) = existing.run("select is_trip_member($1) as answer", trip_id)

    assert is_member["answer"] is is_let_in
    assert trips == ([{"name": "Rome"}] if is_let_in else [])
    assert messages == ([{"message": "Colosseum?"}] if is_let_in else [])


def test_page_followed_refuses_a_user_who_inserts_a_membership(
    existing: Database, pack: str
) -> None:
    trip_id, _ = create_member(existing)
    _, stranger = create_member(existing)
    join = (
        "insert into trip_memberships (trip_id, user_id, role, status)"
        " values ($1, $2, 'OWNER', 'ACTIVE')"
    )
    with existing.as_caller("authenticated", stranger):
        existing.run(join, trip_id, stranger)

    existing.run_script(pack)

    with (
        existing.as_caller("authenticated", stranger),
        pytest.raises(Refused, match=REFUSED),
    ):
        existing.run(join, trip_id, stranger)
