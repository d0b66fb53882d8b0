"""The doctor finds what is wrong, its fix puts it right, and it never changes a row."""

import pytest

from app.doctor.findings import Verdict, judge
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.doctor.harness import ROWS, USER, apply_fixes, examine, pick, sign_token
from tests.doctor.hosted import HostedServer


@pytest.mark.parametrize("deep", [False, True])
async def test_project_with_our_migrations_and_rows_has_nothing_to_find(
    hosted: HostedServer, deep: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    before = project.digest()

    findings = await examine(project, deep=deep)

    assert judge(findings) is Verdict.FINE, [f for f in findings if f.verdict is not Verdict.FINE]
    assert project.digest() == before


async def test_fresh_project_is_fine_by_its_catalog_and_only_half_seen_without(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()

    assert judge(await examine(project, deep=True)) is Verdict.FINE
    shallow = await examine(project, deep=False)
    assert judge(shallow) is Verdict.UNCHECKED
    assert pick(shallow, Verdict.UNCHECKED) == {
        "reads-by-authenticated:users",
        "reads-by-authenticated:trips",
        "reads-by-authenticated:trip_memberships",
        "status",
    }


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
create or replace function active_trip_ids() returns setof uuid language sql stable
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


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(("script", "wanted"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_broken_project_is_found_and_its_fix_leaves_nothing_to_find(
    hosted: HostedServer, script: str, wanted: set[str], deep: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)
    before = project.digest()

    findings = await examine(project, deep=deep)

    assert pick(findings, Verdict.PROBLEM) == wanted
    assert project.digest() == before
    apply_fixes(project, findings, MINIMAL_TARGETS, Verdict.PROBLEM)
    left = await examine(project, deep=deep)
    assert pick(left, Verdict.PROBLEM) == set()
    if script.startswith("drop table"):
        return  # an empty table has nothing to show
    assert judge(left) is Verdict.FINE, [f for f in left if f.verdict is not Verdict.FINE]


DEEPLY_BROKEN = [
    ("update by policy", 'grant update on trip_memberships to authenticated; create policy "p" on'
     " trip_memberships for update to authenticated using (user_id = (select auth.uid()))",
     {"writes-by-authenticated:trip_memberships"}),
    ("policy for everybody", 'create policy "p" on users for select to authenticated using (true)',
     {"reads-by-authenticated:users"}),
    ("status ignored", STATUS_IGNORED, {"status:chat_messages"}),
    ("chat without row level security", "alter table chat_messages disable row level security",
     {"row-security:chat_messages"}),
    ("chat open", 'alter policy "members read" on chat_messages using (true)',
     {"row-security:chat_messages"}),
    ("no search_path", "alter function is_trip_member(uuid) reset search_path",
     {"search-path:is_trip_member"}),
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
    ("script", "wanted"), [b[1:] for b in DEEPLY_BROKEN], ids=[b[0] for b in DEEPLY_BROKEN]
)
async def test_what_only_the_catalog_shows_is_found_and_fixed(
    hosted: HostedServer, script: str, wanted: set[str]
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await examine(project, deep=True)

    # A member who still reads is shown by trying, too.
    assert pick(findings, Verdict.PROBLEM) - {"status", "reads-by-authenticated:users"} == (
        wanted - {"reads-by-authenticated:users"}
    )
    assert pick(findings, Verdict.PROBLEM) >= wanted
    fixable = [f for f in findings if f.check != "status"]
    apply_fixes(project, fixable, MINIMAL_TARGETS, Verdict.PROBLEM)
    left = await examine(project, deep=True)
    assert judge(left) is Verdict.FINE, [f for f in left if f.verdict is not Verdict.FINE]


@pytest.mark.parametrize("deep", [False, True])
async def test_function_that_ignores_status_is_found_and_removing_such_rows_is_the_fix(
    hosted: HostedServer, deep: bool
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(STATUS_IGNORED_BY_FUNCTION)

    findings = await examine(project, deep=deep)

    problems = pick(findings, Verdict.PROBLEM)
    assert "status" in problems
    assert ("status:chat_messages" in problems) is deep
    targets = apply_fixes(project, findings, MINIMAL_TARGETS, Verdict.PROBLEM)
    assert judge(await examine(project, deep=deep, targets=targets)) is Verdict.FINE


async def test_privilege_that_policies_hold_back_is_no_problem_but_said(
    hosted: HostedServer,
) -> None:
    # As hosted projects are by default: everything granted, Row Level Security on, no policy.
    project = hosted.make_project()
    project.run(ROWS)
    project.run("grant all on trip_memberships, users, trips to anon, authenticated")

    shallow = await examine(project, deep=False)

    assert pick(shallow, Verdict.PROBLEM) == set()
    assert pick(shallow, Verdict.UNCHECKED) == {
        f"writes-by-{role}:{table}"
        for role in ("anon", "authenticated")
        for table in ("users", "trips", "trip_memberships")
    }
    assert judge(await examine(project, deep=True)) is Verdict.FINE
    apply_fixes(project, shallow, MINIMAL_TARGETS, Verdict.UNCHECKED)
    assert judge(await examine(project, deep=False)) is Verdict.FINE


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


async def test_project_that_takes_everything_from_everybody_is_left_as_it_was(
    hosted: HostedServer,
) -> None:
    # Nothing is NOT NULL, triggers fill in every key, and note every statement.
    project = hosted.make_project(HARMLESS)
    project.run(ROWS)
    before = project.digest()

    findings = await examine(project, deep=True)

    assert project.digest() == before
    assert {r.method for r in project.requests} == {"GET", "POST", "PATCH", "DELETE"}
    assert "writes-by-anon:trip_memberships" in pick(findings, Verdict.PROBLEM)


async def test_mapped_tables_are_examined_under_their_own_names(hosted: HostedServer) -> None:
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

    findings = await examine(project, deep=True, targets=targets)

    assert pick(findings, Verdict.PROBLEM) == {
        f"{verb}-by-{role}:Members"
        for verb in ("reads", "writes")
        for role in ("anon", "authenticated")
    }
    apply_fixes(project, findings, targets, Verdict.PROBLEM)
    left = await examine(project, deep=True, targets=targets)
    assert judge(left) is Verdict.FINE, [f for f in left if f.verdict is not Verdict.FINE]


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0, Verdict.FINE), (20, Verdict.FINE), (90, Verdict.PROBLEM), (-90, Verdict.PROBLEM)],
)
async def test_clock_that_differs_is_found(
    hosted: HostedServer, seconds: float, verdict: Verdict
) -> None:
    project = hosted.make_project()
    project.ahead_seconds = seconds

    findings = await examine(project, deep=True)

    (clock,) = [finding for finding in findings if finding.check == "clock"]
    assert clock.verdict is verdict
    assert ("behind" in clock.what) is (seconds > 0)


async def test_token_of_a_real_user_shows_that_he_can_let_himself_in(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(SELF_GRANT)
    before = project.digest()

    findings = await examine(project, deep=False, user_token=sign_token(USER))

    assert pick(findings, Verdict.PROBLEM) == {"writes-by-authenticated:trip_memberships"}
    # He may have rows of his own: what a stranger reads is not shown by him.
    assert "reads-by-authenticated:users" in pick(findings, Verdict.UNCHECKED)
    assert project.digest() == before
