"""The SQL of docs/guides/supabase.md works as described, on tables of a real project."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from tests.contract.database import (
    MIGRATIONS,
    REFUSED,
    Database,
    Refused,
    create_project_database,
    open_database,
)
from tests.docs.pages import read_region
from tests.postgres import PostgresServer

# Open in the ways that the page names.
EXISTING = """
    create table public.users (
      id uuid primary key, email text not null unique, username text not null unique,
      supabase_id uuid not null unique
    );
    create table public.trips (
      id uuid primary key, name text not null, created_by uuid, start_date date not null
    );
    create table public.trip_memberships (
      id uuid primary key default gen_random_uuid(),
      trip_id uuid not null references public.trips (id),
      user_id uuid not null references public.users (id),
      role text not null, status text not null, deleted_at timestamptz,
      unique (trip_id, user_id)
    );
    create table public.locations (
      id uuid primary key default gen_random_uuid(),
      trip_id uuid not null, user_id uuid not null, place text not null
    );
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
ACCESS = ("trip_access", "trip_access_in_bulk")


@pytest.fixture(scope="module")
def _existing(postgres: PostgresServer) -> Iterator[Database]:
    with open_database(create_project_database(postgres, migrations=())) as database:
        database.run_script(EXISTING)
        yield database


@pytest.fixture
def existing(_existing: Database) -> Iterator[Database]:
    """Return a project with its own tables."""
    with _existing.rolled_back() as database:
        yield database


def follow_the_page(database: Database) -> None:
    database.run_script(read_region("sql/supabase.sql#drop_policies"))
    for name in ACCESS:
        (path,) = MIGRATIONS.glob(f"*_{name}.sql")
        database.run_script(path.read_text())
    for region in ("soft_delete", "own_table"):
        database.run_script(read_region(f"sql/supabase.sql#{region}"))


def create_member(
    database: Database, *, status: str = "ACTIVE", deleted: bool = False
) -> tuple[UUID, UUID]:
    """Return a trip with locations, and one of its members."""
    trip_id, user_id, fellow_id = uuid4(), uuid4(), uuid4()
    for person in (user_id, fellow_id):
        database.run("insert into users values ($1, $2, $2, $1)", person, str(person))
    database.run("insert into trips values ($1, 'Rome', $2, now())", trip_id, fellow_id)
    database.run(
        "insert into trip_memberships (trip_id, user_id, role, status, deleted_at)"
        " values ($1, $2, 'MEMBER', $3, case when $4::boolean then now() end)",
        trip_id,
        user_id,
        status,
        deleted,
    )
    database.run(
        "insert into locations (trip_id, user_id, place)"
        " values ($1, $2, 'Colosseum'), ($1, $3, 'Trastevere')",
        trip_id,
        fellow_id,
        user_id,
    )
    return trip_id, user_id


def test_audit_shows_open_tables_before_and_none_afterwards(
    existing: Database,
) -> None:
    audit = read_region("sql/supabase.sql#audit").strip().removesuffix(";")
    before = {row["table"]: row for row in existing.run(audit)}
    assert {name: row["has_rls"] for name, row in before.items()} == {
        "users": False,
        "trips": True,
        "trip_memberships": False,
    }
    assert all(row["users_may_write"] and row["anon_may_try"] for row in before.values())
    assert before["trips"]["policies"] == 'an "odd" name (ALL), who is not deleted reads (SELECT)'

    follow_the_page(existing)

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
    existing: Database, status: str, deleted: bool, is_let_in: bool
) -> None:
    trip_id, user_id = create_member(existing, status=status, deleted=deleted)
    follow_the_page(existing)

    with existing.as_caller("authenticated", user_id):
        trips = existing.run("select name from trips")
        places = existing.run("select place from locations order by place")
        (is_member,) = existing.run("select is_trip_member($1) as answer", trip_id)
        changed = existing.run("update locations set place = 'Tivoli' returning place")
        removed = existing.run("delete from locations returning place")
        insert = "insert into locations (trip_id, user_id, place) values ($1, $2, 'Ostia')"
        with existing.undone():
            if is_let_in:
                existing.run(insert, trip_id, user_id)
            else:
                with pytest.raises(Refused, match=REFUSED):
                    existing.run(insert, trip_id, user_id)

    assert is_member["answer"] is is_let_in
    assert trips == ([{"name": "Rome"}] if is_let_in else [])
    assert [row["place"] for row in places] == (["Colosseum", "Trastevere"] if is_let_in else [])
    assert [row["place"] for row in (*changed, *removed)] == (["Tivoli"] * 2 if is_let_in else [])


def test_page_followed_refuses_a_user_who_inserts_a_membership(existing: Database) -> None:
    trip_id, _ = create_member(existing)
    stranger = uuid4()
    existing.run("insert into users values ($1, 'cy', 'cy', $1)", stranger)
    join = (
        "insert into trip_memberships (trip_id, user_id, role, status)"
        " values ($1, $2, 'OWNER', 'ACTIVE')"
    )
    with existing.as_caller("authenticated", stranger):
        existing.run(join, trip_id, stranger)

    follow_the_page(existing)

    with (
        existing.as_caller("authenticated", stranger),
        pytest.raises(Refused, match=REFUSED),
    ):
        existing.run(join, trip_id, stranger)
