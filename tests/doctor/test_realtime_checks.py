"""What Realtime would send to people without access is found, and stopped by the printed fix."""

from typing import Final

import pytest

from app.doctor.findings import Status
from app.doctor.topic_access import explain_topics
from app.supabase.targets import MINIMAL_TARGETS
from tests.doctor.harness import OTHER, ROWS, TRIP, USER, apply_fixes, check, list_faults, pick
from tests.doctor.hosted import HostedProject, HostedServer

STRANGER: Final = "00000000-0000-0000-0000-000000000063"
OF_TRIP: Final = {"topics:trip:<trip id>", "topics:trip-messages-<trip id>"}
OF_ALL: Final = OF_TRIP | {"topics:user:<user id>"}
MEMBER: Final = """exists (select 1 from trip_memberships m
  where realtime.topic() like '%' || m.trip_id and m.user_id = (select auth.uid()))"""


def write_policy(expression: str, *, command: str = "select", role: str = "authenticated") -> str:
    clause = "with check" if command == "insert" else "using"
    return f"create policy p on realtime.messages for {command} to {role} {clause} ({expression});"


def join(project: HostedProject, user_id: str, topic: str) -> list[str]:
    """Return what a user may do on a topic."""
    (access,) = explain_topics(project.db_url, MINIMAL_TARGETS, user_id, [topic])
    return list(access.allowed)


@pytest.mark.parametrize(
    ("script", "wanted", "sentence"),
    [
        (write_policy("true"), OF_ALL,
         "Strangers and removed members can receive broadcast and receive presence on the topic"
         ' trip:<trip id>, by policy "p".'),
        (write_policy("true", role="anon"), OF_ALL, "Signed-out users can receive broadcast"),
        (write_policy("extension = 'broadcast'", command="insert"), OF_ALL,
         "Strangers and removed members can send broadcast on the topic user:<user id>"),
        (write_policy(MEMBER), OF_TRIP, "INACTIVE members can receive broadcast"),
        ("alter table realtime.messages disable row level security", {"topics-row-security"},
         "Row Level Security is off on realtime.messages"),
        (write_policy("split_part(realtime.topic(), ':', 2)::uuid is null"), {"topics-raise"},
         'Policy "p" on realtime.messages raises for trip:not-a-trip: invalid input syntax'),
        (write_policy("realtime.topic() = 'user:' || auth.uid()"), set(), ""),
        (write_policy("realtime.topic() = 'lobby'"), set(), ""),
    ],
    ids=["all", "anon", "send", "any status", "no RLS", "cast", "own topic", "lobby"],
)  # fmt: skip
async def test_topic_policy_that_is_open_or_raises_is_found_and_fixed(
    hosted: HostedServer, script: str, wanted: set[str], sentence: str
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)
    before = project.digest()

    findings = await check(project, with_catalog=True)

    assert pick(findings, Status.PROBLEM) == wanted
    assert any(sentence in finding.what for finding in findings)
    assert project.digest() == before
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=True)) == []
    for user_id in (OTHER, STRANGER):
        assert join(project, user_id, f"trip:{TRIP}") == []
        assert join(project, user_id, f"user:{USER}") == []
    assert "receive broadcast" in join(project, USER, f"trip:{TRIP}")


async def test_fix_leaves_topics_that_name_no_trip(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(write_policy("true"))

    findings = await check(project, with_catalog=True)
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)

    assert join(project, STRANGER, "lobby") == ["receive broadcast", "receive presence"]


async def test_topics_without_a_partition_for_today_are_skipped(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(
        "do $$ begin execute (select format('drop table %s', inhrelid::regclass) from pg_inherits"
        " where inhparent = 'realtime.messages'::regclass); end $$"
    )

    findings = await check(project, with_catalog=True)

    (skipped,) = [finding for finding in findings if finding.status is Status.SKIPPED]
    assert "has no partition for today" in skipped.what


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("alter table chat_messages replica identity full", {"replica-identity:chat_messages"}),
        ("create table news (id int primary key); alter table news replica identity full;"
         " revoke all on news from anon, authenticated; alter publication supabase_realtime add"
         " table news", {"replica-identity:news"}),
        ("create table news (id int primary key);"
         " alter publication supabase_realtime add table news", {"published:news"}),
        ("alter publication supabase_realtime add table users", {"published:users"}),
        ("create table news (id int primary key, owner uuid); alter table news enable row level"
         " security; create policy p on news for select using (owner = (select auth.uid()));"
         " revoke all on news from anon, authenticated; grant select on news to authenticated;"
         " alter publication supabase_realtime add table news", {"raises:news"}),
        ("create table news (id int primary key, owner uuid); alter table news enable row level"
         " security; create policy p on news for select"
         " using (owner = (auth.jwt() ->> 'account')::uuid or (auth.jwt() ->> 'sub')::uuid = owner);"  # noqa: E501
         " revoke all on news from anon, authenticated; grant select on news to authenticated;"
         " alter publication supabase_realtime add table news", {"raises:news"}),
    ],
    ids=["old rows", "old rows, closed", "no RLS", "users", "auth.uid()", "a cast"],
)  # fmt: skip
async def test_published_table_that_leaks_or_raises_is_found_and_fixed(
    hosted: HostedServer, script: str, wanted: set[str]
) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script)

    findings = await check(project, with_catalog=True)

    assert pick(findings, Status.PROBLEM) == wanted
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert list_faults(await check(project, with_catalog=True)) == []


async def test_fixed_policy_still_shows_users_their_own_rows(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(
        "create table news (id int primary key, owner uuid); alter table news enable row level"  # noqa: S608
        " security; create policy p on news for select using (owner = (select auth.uid()));"
        f" insert into news values (1, '{USER}'); grant select on news to authenticated;"
        " alter publication supabase_realtime add table news"
    )
    findings = await check(project, with_catalog=True)
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)

    for subject, count in ((USER, 1), (OTHER, 0), ("not-a-uuid", 0)):
        claims = f'{{"sub": "{subject}"}}'
        project.run(f"set request.jwt.claims = '{claims}'; set role authenticated")
        rows = project.run("select id from news")
        project.run("reset role; reset request.jwt.claims")
        assert len(rows) == count
