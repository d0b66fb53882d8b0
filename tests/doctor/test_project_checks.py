"""The doctor finds what is wrong, its fixes fix it, and it never changes a row."""

import pytest

from app.doctor.findings import Status
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.doctor.harness import ROWS, USER, apply_fixes, check, list_faults, pick, sign_token
from tests.doctor.hosted import HostedServer


@pytest.mark.parametrize("with_catalog", [False, True])
async def test_project_with_our_migrations_and_rows_has_no_faults(
    hosted: HostedServer, with_catalog: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    before = project.digest()

    findings = await check(project, with_catalog=with_catalog)

    assert list_faults(findings) == []
    assert project.digest() == before


async def test_fresh_project_without_catalog_skips_what_needs_rows(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()

    assert list_faults(await check(project, with_catalog=True)) == []
    shallow = await check(project, with_catalog=False)
    assert pick(shallow, Status.SKIPPED) == {
        "reads-by-authenticated:users",
        "reads-by-authenticated:trips",
        "reads-by-authenticated:trip_memberships",
        "status",
    }


async def test_project_without_optional_keys_skips_only_checks_that_need_one(
    hosted: HostedServer,
) -> None:
    findings = await check(hosted.make_project(), with_catalog=False, app_key=None)

    skipped = [finding for finding in findings if finding.status is Status.SKIPPED]
    assert {"access-by-anon", "access-by-authenticated"} <= pick(findings, Status.SKIPPED)
    assert all(finding.needs_optional_key for finding in skipped)
    assert pick(findings, Status.PROBLEM) == set()


async def test_missing_table_of_a_schema_that_is_not_exposed_is_found_in_the_catalog(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()
    project.run("create schema app")
    targets = Targets(users=read_target(Kind.USER, '{"table": "app.people"}'))

    over_http = await check(project, with_catalog=False, targets=targets)
    in_catalog = await check(project, with_catalog=True, targets=targets)

    assert "columns:people" in pick(over_http, Status.SKIPPED)
    assert pick(in_catalog, Status.PROBLEM) == {"columns:people"}
    apply_fixes(project, in_catalog, targets, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=True, targets=targets)) == []


@pytest.mark.parametrize("with_catalog", [False, True])
async def test_table_with_none_of_the_columns_is_not_reported_as_missing(
    hosted: HostedServer, with_catalog: bool
) -> None:
    project = hosted.make_project("create table users (a int)")

    findings = await check(project, with_catalog=with_catalog)

    (finding,) = [finding for finding in findings if finding.check == "columns:users"]
    assert finding.what == "public.users has no column id, email, username."


NO_ROW_SECURITY = """
alter table trip_memberships disable row level security;
grant all on trip_memberships to anon, authenticated;
"""
SELF_GRANT = """
grant insert on trip_memberships to authenticated;
create policy "join" on trip_memberships for insert to authenticated
  with check (user_id = (select auth.uid()));
"""
STATUS_IGNORED = """
alter policy "members read" on chat_messages using (exists (
  select 1 from trip_memberships m where m.trip_id = chat_messages.trip_id
  and m.user_id = (select auth.uid())));
insert into chat_messages (trip_id, user_id, body) select id, created_by, 'hello' from trips;
"""
STATUS_IGNORED_BY_FUNCTION = """
create or replace function trip_access.active_trip_ids() returns setof uuid language sql stable
security definer set search_path = '' as $$
  select trip_id from public.trip_memberships where user_id = (select auth.uid())
$$;
"""

BROKEN = [
    ("no table", "drop table trips cascade", {"columns:trips"}),
    ("missing column", "alter table users rename email to mail; alter table users alter mail"
     " drop not null", {"columns:users"}),
    ("no unique key", "alter table trip_memberships drop constraint trip_memberships_pkey cascade;"
     # The key's index serves the cascade from trips too.
     " create index on trip_memberships (trip_id)",
     {"unique:trip_memberships"}),
    ("required column", "alter table trips add start_date date not null default now();"
     " alter table trips alter start_date drop default", {"required:trips"}),
    ("relay without privileges", "revoke insert, delete on users from service_role",
     {"writable:users"}),
    ("relay that may not read", "revoke select on users from service_role", {"columns:users"}),
    ("no row level security", NO_ROW_SECURITY,
     {"reads-by-anon:trip_memberships", "reads-by-authenticated:trip_memberships",
      "writes-by-anon:trip_memberships", "writes-by-authenticated:trip_memberships"}),
    ("anon reads", 'grant select on users to anon; create policy "p" on users for select to anon'
     " using (true)", {"reads-by-anon:users"}),
    ("anon inserts", 'grant insert on trip_memberships to anon; create policy "p" on'
     " trip_memberships for insert to anon with check (true)",
     {"writes-by-anon:trip_memberships"}),
    ("self grant", SELF_GRANT, {"writes-by-authenticated:trip_memberships"}),
]  # fmt: skip


@pytest.mark.parametrize("with_catalog", [False, True])
@pytest.mark.parametrize(("script", "wanted"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_broken_project_is_found_and_fixed(
    hosted: HostedServer, script: str, wanted: set[str], with_catalog: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)
    before = project.digest()

    findings = await check(project, with_catalog=with_catalog)

    assert pick(findings, Status.PROBLEM) == wanted
    assert project.digest() == before
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    left = await check(project, with_catalog=with_catalog)
    assert pick(left, Status.PROBLEM) == set()
    if script.startswith("drop table"):
        return  # a new table is empty
    assert list_faults(left) == []


BROKEN_IN_CATALOG = [
    ("update by policy", 'grant update on trip_memberships to authenticated; create policy "p" on'
     " trip_memberships for update to authenticated using (user_id = (select auth.uid()))",
     {"writes-by-authenticated:trip_memberships"}),
    ("policy for every user", 'create policy "p" on users for select to authenticated using (true)',
     {"reads-by-authenticated:users"}),
    ("status ignored", STATUS_IGNORED, {"status:chat_messages", "raises:chat_messages"}),
    ("chat without row level security", "alter table chat_messages disable row level security",
     {"row-security:chat_messages"}),
    ("chat open", 'alter policy "members read" on chat_messages using (true)',
     {"membership:chat_messages"}),
    ("published", "alter publication supabase_realtime add table trip_memberships",
     {"published:trip_memberships"}),
    ("enum without INACTIVE", "create type kind_of_status as enum ('ACTIVE');"
     " delete from trip_memberships where status = 'INACTIVE';"
     " drop table user_presence, chat_read_receipts, chat_reactions, chat_messages cascade;"
     " drop function is_trip_member cascade; drop function active_trip_ids cascade;"
     " alter table trip_memberships alter status type kind_of_status using status::kind_of_status",
     {"values:trip_memberships.status"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "wanted"), [b[1:] for b in BROKEN_IN_CATALOG], ids=[b[0] for b in BROKEN_IN_CATALOG]
)
async def test_project_broken_in_its_catalog_only_is_found_and_fixed(
    hosted: HostedServer, script: str, wanted: set[str]
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await check(project, with_catalog=True)

    # A request shows a former member who still reads, too.
    assert pick(findings, Status.PROBLEM) - {"status", "reads-by-authenticated:users"} == (
        wanted - {"reads-by-authenticated:users"}
    )
    assert pick(findings, Status.PROBLEM) >= wanted
    fixable = [f for f in findings if f.check != "status"]
    apply_fixes(project, fixable, MINIMAL_TARGETS, Status.PROBLEM)
    left = await check(project, with_catalog=True)
    assert list_faults(left) == []


@pytest.mark.parametrize("with_catalog", [False, True])
async def test_function_that_ignores_status_is_fixed_by_removing_inactive_rows(
    hosted: HostedServer, with_catalog: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(STATUS_IGNORED_BY_FUNCTION)

    findings = await check(project, with_catalog=with_catalog)

    problems = pick(findings, Status.PROBLEM)
    assert "status" in problems
    assert ("status:chat_messages" in problems) is with_catalog
    targets = apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=with_catalog, targets=targets)) == []


async def test_privilege_without_policies_is_skipped_over_http_and_found_in_the_catalog(
    hosted: HostedServer,
) -> None:
    # The former default of hosted projects: all granted, Row Level Security on, no policy.
    project = hosted.make_project()
    project.run(ROWS)
    project.run("grant all on trip_memberships, users, trips to anon, authenticated")
    tables = ("users", "trips", "trip_memberships")

    shallow = await check(project, with_catalog=False)

    assert pick(shallow, Status.PROBLEM) == set()
    assert pick(shallow, Status.SKIPPED) == {
        f"writes-by-{role}:{table}" for role in ("anon", "authenticated") for table in tables
    }
    deep = await check(project, with_catalog=True)
    assert pick(deep, Status.PROBLEM) == {f"privileges:{table}" for table in tables}
    apply_fixes(project, deep, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=True)) == []
    assert list_faults(await check(project, with_catalog=False)) == []


HARMLESS = """
create table users (id uuid unique, email text, username text);
create table trips (id uuid unique, name text, created_by uuid);
create table trip_memberships (trip_id uuid, user_id uuid, role text, status text,
  unique (trip_id, user_id));
create table notes (what text);
create function note() returns trigger language plpgsql security definer as $$
begin insert into public.notes values (tg_op || tg_level); return new; end $$;
create function fill() returns trigger language plpgsql as $$
begin new.id := gen_random_uuid(); return new; end $$;
create function fill_trip() returns trigger language plpgsql as $$
begin new.trip_id := gen_random_uuid(); return new; end $$;
create trigger a after insert or update or delete on users for each statement
  execute function note();
create trigger a after insert or update or delete on trips for each statement
  execute function note();
create trigger a after insert or update or delete on trip_memberships for each statement
  execute function note();
create trigger b before insert on users for each row execute function fill();
create trigger b before insert on trips for each row execute function fill();
create trigger b before insert on trip_memberships for each row execute function fill_trip();
grant all on notes to anon, authenticated, service_role;
"""


async def test_checks_of_an_unprotected_project_change_nothing(
    hosted: HostedServer,
) -> None:
    # No column is NOT NULL; triggers fill in every key, and record every statement.
    project = hosted.make_project(HARMLESS)
    project.run(ROWS)
    before = project.digest()

    findings = await check(project, with_catalog=True)

    assert project.digest() == before
    assert {r.method for r in project.requests} == {"GET", "POST", "PATCH", "DELETE"}
    assert "writes-by-anon:trip_memberships" in pick(findings, Status.PROBLEM)


async def test_mapped_tables_are_checked_and_fixed_under_their_own_names(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project(
        """create table people (uid uuid primary key, mail text, nick text);
        create table journeys (jid uuid primary key, title text, owner uuid);
        create table "Members" (journey uuid, person uuid, role text, state text,
          deleted_at timestamptz, primary key (journey, person));
        alter table people enable row level security;
        alter table journeys enable row level security;
        revoke all on people, journeys from anon, authenticated;"""
    )
    targets = Targets(
        users=read_target(
            Kind.USER,
            '{"table": "people", "columns": {"id": "uid", "email": "mail", "username": "nick"}}',
        ),
        trips=read_target(
            Kind.TRIP,
            '{"table": "journeys", "columns": {"id": "jid", "name": "title",'
            ' "created_by": "owner"}}',
        ),
        memberships=read_target(
            Kind.MEMBERSHIP,
            '{"table": "Members", "columns": {"trip_id": "journey", "user_id": "person",'
            ' "status": "state"}, "constants": {"deleted_at": null}}',
        ),
    )

    findings = await check(project, with_catalog=True, targets=targets)

    assert pick(findings, Status.PROBLEM) == {
        f"{verb}-by-{role}:Members"
        for verb in ("reads", "writes")
        for role in ("anon", "authenticated")
    }
    apply_fixes(project, findings, targets, Status.PROBLEM)
    left = await check(project, with_catalog=True, targets=targets)
    assert list_faults(left) == []


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(0, Status.OK), (20, Status.OK), (90, Status.PROBLEM), (-90, Status.PROBLEM)],
)
async def test_clock_difference_beyond_the_leeway_is_a_problem(
    hosted: HostedServer, seconds: float, status: Status
) -> None:
    project = hosted.make_project()
    project.ahead_seconds = seconds

    findings = await check(project, with_catalog=True)

    (clock,) = [finding for finding in findings if finding.check == "clock"]
    assert clock.status is status
    assert ("behind" in clock.what) is (seconds > 0)


async def test_user_token_shows_that_its_user_can_join_a_trip(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(SELF_GRANT)
    before = project.digest()

    findings = await check(project, with_catalog=False, user_token=sign_token(USER))

    assert pick(findings, Status.PROBLEM) == {"writes-by-authenticated:trip_memberships"}
    # The user may have rows: what they read does not show what a stranger reads.
    assert "reads-by-authenticated:users" in pick(findings, Status.SKIPPED)
    assert project.digest() == before
