"""Policies that let people without an ACTIVE membership in are found, and closed by the fixes."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
import pytest

from app.doctor.findings import Finding, Status
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import Targets
from tests.doctor.harness import ROWS, USER, apply_fixes, check, list_faults, pick
from tests.doctor.hosted import HostedProject, HostedServer

BACKEND: Final = Path(__file__).with_name("backend.sql").read_text()
TARGETS: Final = Targets(
    users=read_target(Kind.USER, '{"copy": {"supabase_id": "id"}}'),
    trips=read_target(Kind.TRIP, '{"extra": ["start_date"]}'),
)
ACTIVE, INACTIVE, STRANGER, TRIP, OTHER_TRIP, MESSAGE = (
    str(uuid.UUID(int=number)) for number in (1, 2, 99, 3, 4, 5)
)
# The stranger wrote everything while they were a member.
ROWS_OF_BACKEND: Final = f"""
insert into users (id, supabase_id) values
  ('{ACTIVE}', '{ACTIVE}'), ('{INACTIVE}', '{INACTIVE}'), ('{STRANGER}', '{STRANGER}');
insert into trips values ('{TRIP}', 'Rome', '{ACTIVE}', '2026-05-01'),
  ('{OTHER_TRIP}', 'Oslo', '{ACTIVE}', '2026-05-01');
insert into trip_memberships values ('{TRIP}', '{ACTIVE}', 'OWNER', 'ACTIVE'),
  ('{TRIP}', '{INACTIVE}', 'MEMBER', 'INACTIVE'), ('{OTHER_TRIP}', '{STRANGER}', 'OWNER', 'ACTIVE');
insert into supabase_chat_messages (id, trip_id, user_id, message) values
  ('{MESSAGE}', '{TRIP}', '{ACTIVE}', 'Hi'),
  (gen_random_uuid(), '{TRIP}', '{STRANGER}', 'Bye'),
  (gen_random_uuid(), '{OTHER_TRIP}', '{STRANGER}', 'Elsewhere');
insert into supabase_chat_reactions (message_id, user_id, reaction)
  values ('{MESSAGE}', '{STRANGER}', '+');
insert into supabase_user_presence (user_id, trip_id) values ('{STRANGER}', '{TRIP}');
insert into locations (user_id, trip_id) values ('{STRANGER}', '{TRIP}');
"""  # noqa: S608 - ours
FOUND: Final = {
    "authors write": "accepts memberships of any status: INACTIVE members can insert",
    "authors edit": "strangers and removed members can move rows into any trip",
    "authors delete": "strangers and removed members can delete",
    "own reactions": "strangers and removed members can read, insert, update and delete",
    "own presence": "strangers and removed members can read, insert, update and delete",
    "shared locations": "strangers and removed members can read",
    "own locations": "strangers and removed members can read, insert, update and delete",
}
ATTEMPTS: Final = {
    "an INACTIVE member writes a message": (
        INACTIVE,
        f"insert into supabase_chat_messages (trip_id, user_id, message)"  # noqa: S608 - ours
        f" values ('{TRIP}', '{INACTIVE}', 'Still here')",
    ),
    "a former member moves a message into their former trip": (
        STRANGER,
        # Without a condition, for which PostgreSQL would apply the policies for select, too.
        f"update supabase_chat_messages set trip_id = '{TRIP}'",  # noqa: S608 - ours
    ),
    "a former member changes a reaction": (
        STRANGER,
        f"update supabase_chat_reactions set reaction = '-' where user_id = '{STRANGER}'",  # noqa: S608 - ours
    ),
    "a stranger is present": (
        STRANGER,
        f"insert into supabase_user_presence (trip_id, user_id) values ('{TRIP}', '{STRANGER}')",  # noqa: S608 - ours
    ),
    "a stranger shares a location": (
        STRANGER,
        f"insert into locations (trip_id, user_id) values ('{TRIP}', '{STRANGER}')",  # noqa: S608 - ours
    ),
    "a former member reads where they were": (
        STRANGER,
        f"select from locations where user_id = '{STRANGER}'",
    ),
}


def attempt(project: HostedProject, user_id: str, statement: str) -> bool:
    """Tell whether a user's statement reaches a row; it is rolled back."""
    claims = json.dumps({"sub": user_id, "role": "authenticated"})
    with psycopg.connect(project.db_url, options="-c search_path=public") as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        try:
            return connection.execute(statement.encode()).rowcount > 0
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()


def read_policies(findings: Sequence[Finding]) -> dict[str, str]:
    """Read the policies that are named, with what people can do."""
    return {
        finding.what.split('"')[1]: finding.what
        for finding in findings
        if finding.check.startswith(("membership:", "status:"))
    }


@pytest.mark.parametrize("rows", [ROWS_OF_BACKEND, ""], ids=["tried", "by their text"])
async def test_mistaken_policies_are_found_for_every_command(
    hosted: HostedServer, rows: str
) -> None:
    project = hosted.make_project(BACKEND)
    project.run(rows)
    before = project.digest()

    found = read_policies(await check(project, with_catalog=True, targets=TARGETS))

    assert set(found) == set(FOUND)
    for policy, sentence in FOUND.items():
        assert sentence in found[policy]
    assert project.digest() == before


async def test_holes_are_open_before_the_printed_fixes_and_closed_after_them(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project(BACKEND)
    project.run(ROWS_OF_BACKEND)
    assert [name for name, tried in ATTEMPTS.items() if not attempt(project, *tried)] == []

    findings = await check(project, with_catalog=True, targets=TARGETS)
    targets = apply_fixes(project, findings, TARGETS, Status.PROBLEM)

    assert list_faults(await check(project, with_catalog=True, targets=targets)) == []
    assert [name for name, tried in ATTEMPTS.items() if attempt(project, *tried)] == []
    # The fixes leave members what they could do.
    assert all(
        attempt(project, ACTIVE, statement.replace(INACTIVE, ACTIVE).replace(STRANGER, ACTIVE))
        for name, (_, statement) in ATTEMPTS.items()
        if statement.startswith("insert")
    )


async def test_foreign_keys_of_presence_and_receipts_are_found(hosted: HostedServer) -> None:
    project = hosted.make_project(BACKEND)

    problems = pick(await check(project, with_catalog=True, targets=TARGETS), Status.PROBLEM)

    assert {check for check in problems if check.startswith("foreign-key")} == {
        "foreign-key:supabase_user_presence.supabase_user_presence_trip_id_fkey",
        "foreign-key-index:supabase_chat_read_receipts"
        ".supabase_chat_read_receipts_last_read_message_id_fkey",
    }


def write_policy(command: str, expression: str, *, kind: str = "permissive") -> str:
    clause = "with check" if command == "insert" else "using"
    return (
        f'create policy "p {kind}" on chat_messages as {kind} for {command} to authenticated'
        f" {clause} ({expression});"
    )


MEMBER = """exists (select 1 from trip_memberships m where m.trip_id = chat_messages.trip_id
  and m.user_id = (select auth.uid()) {})"""
IS_ADMIN = """create function is_admin() returns boolean language sql stable as $$
  select coalesce(auth.jwt() ->> 'admin' = 'yes', false) $$;"""
OUR_TABLES = [
    ("own row", write_policy("update", "user_id = (select auth.uid())"), {"membership"}),
    ("signed in", write_policy("insert", "auth.uid() is not null"), {"membership"}),
    ("delete of anything", write_policy("delete", "true"), {"membership"}),
    ("any status", write_policy("delete", MEMBER.format("")), {"status"}),
    ("ACTIVE", write_policy("delete", MEMBER.format("and m.status = 'ACTIVE'")), set()),
    ("the server's key", write_policy("insert", "auth.jwt() ->> 'role' = 'service_role'"), set()),
    ("never", write_policy("insert", "false"), set()),
    ("administrators", IS_ADMIN + write_policy("delete", "is_admin()"), set()),
    ("limited to members by another policy",
     write_policy("delete", "user_id = (select auth.uid())")
     + write_policy("delete", "is_trip_member(trip_id)", kind="restrictive"), set()),
    ("limited by nothing by another policy",
     write_policy("delete", "user_id = (select auth.uid())")
     + write_policy("delete", "char_length(body) > 0 or body is null", kind="restrictive"),
     {"membership"}),
    ("public", 'create policy p on chat_messages for select to public using (true);'
     "grant select on chat_messages to anon", {"membership"}),
    ("without the privilege", "revoke delete on chat_messages from authenticated;"
     + write_policy("delete", "true"), set()),
    ("truncate", "grant truncate on chat_messages to anon", {"privileges"}),
    ("a column without policy", "grant update (body) on chat_messages to anon", {"privileges"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "wanted"), [case[1:] for case in OUR_TABLES], ids=[case[0] for case in OUR_TABLES]
)
async def test_policy_or_privilege_is_judged_by_what_it_permits(
    hosted: HostedServer, script: str, wanted: set[str]
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await check(project, with_catalog=True)

    assert pick(findings, Status.PROBLEM) == {f"{check}:chat_messages" for check in wanted}
    apply_fixes(project, findings, TARGETS, Status.PROBLEM)
    assert pick(await check(project, with_catalog=True), Status.PROBLEM) == set()


async def test_trials_execute_no_write_and_no_trigger(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    # A sequence keeps its value when a transaction is rolled back.
    project.run(
        "create sequence writes; grant usage on writes to public;"
        " create function count_write() returns trigger language plpgsql as $$"
        " begin perform nextval('public.writes'); return new; end $$;"
        " create trigger a before insert or update on chat_messages for each row"
        " execute function count_write();" + write_policy("update", "user_id = auth.uid()")
    )

    findings = await check(project, with_catalog=True)

    assert pick(findings, Status.PROBLEM) == {"membership:chat_messages"}
    assert project.run("select is_called from writes") == [(False,)]
    assert attempt(
        project,
        USER,
        f"insert into chat_messages (trip_id, user_id, body) values ('{TRIP}', '{USER}', 'x')",  # noqa: S608 - ours
    )
    assert project.run("select is_called from writes") == [(True,)]
