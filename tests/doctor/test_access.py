"""Why somebody can or cannot read: each cause gets the sentence that names it."""

import time
import uuid
from dataclasses import replace

import pytest

from app.auth.tokens import mint_token
from app.doctor.access import Access, Outcome, Verdict, examine_access
from app.doctor.access_reasons import Desired
from app.doctor.inspection.app_keys import read_app_key
from app.doctor.inspection.project import Project
from app.domain.entities import Kind
from app.supabase.keys import read_key
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.doctor.hosted import (
    JWT_SECRET,
    PUBLISHABLE_KEY,
    SECRET_KEY,
    URL,
    HostedProject,
    HostedServer,
)

USER, OWNER, TRIP = (str(uuid.UUID(int=n)) for n in (1, 2, 3))
TABLES = ("chat_messages", "chat_reactions", "polls")
SINCE = "2026-01-02T03:04:05.678901Z"
ROWS = f"""
insert into users (id, email, username) values
  ('{USER}', 'a@example.com', 'Ada'), ('{OWNER}', 'b@example.com', 'Bob');
insert into trips (id, name, created_by) values ('{TRIP}', 'Rome', '{OWNER}');
insert into trip_memberships values ('{TRIP}', '{OWNER}', 'OWNER', 'ACTIVE');
insert into chat_messages (trip_id, user_id, body) values ('{TRIP}', '{OWNER}', 'hello');
"""  # noqa: S608
ACTIVE = f"insert into trip_memberships values ('{TRIP}', '{USER}', 'MEMBER', 'ACTIVE');"  # noqa: S608
INACTIVE = ACTIVE.replace("'ACTIVE'", "'INACTIVE'")
APPLIED = Desired("evt_1", "membership.created", "applied", False, SINCE)
REMOVED = Desired("evt_1", "membership.deleted", "applied", True, SINCE)


async def ask(
    project: HostedProject,
    desired: Desired | None = None,
    *,
    targets: Targets = MINIMAL_TARGETS,
    user_id: str = USER,
    token: str | None = None,
) -> Access:
    def sign_token(user_id: str) -> str:
        claims = {"sub": user_id, "role": "authenticated", "exp": int(time.time()) + 60}
        return mint_token(claims, secret=JWT_SECRET)

    before = project.digest()
    async with Project(
        URL,
        relay_headers=read_key(SECRET_KEY)[1],
        app_headers=read_app_key(PUBLISHABLE_KEY),
        sign_token=sign_token,
        timeout_seconds=10,
        clock=time.time,
        transport=project.transport,
    ) as opened:
        user = await (opened.as_user(user_id) if token is None else opened.with_token(token))
        assert user is not None
        answer = await examine_access(
            opened,
            user,
            targets,
            user_id=user_id,
            trip_id=TRIP,
            tables=TABLES,
            desired=desired,
        )
    assert project.digest() == before
    return answer


@pytest.fixture
def project(hosted: HostedServer) -> HostedProject:
    project = hosted.make_project()
    project.run(ROWS)
    return project


async def test_active_member_is_allowed_and_every_table_is_accounted_for(
    project: HostedProject,
) -> None:
    project.run(ACTIVE)

    answer = await ask(project, APPLIED)

    assert answer.verdict is Verdict.ALLOWED
    assert answer.sentence.startswith("Allowed: the membership is ACTIVE")
    assert {reading.table: reading.outcome for reading in answer.readings} == {
        "trips": Outcome.ALLOWED,
        "chat_messages": Outcome.ALLOWED,
        "chat_reactions": Outcome.NOTHING_THERE,
        "polls": Outcome.NO_TABLE,
    }
    assert (answer.has_user, answer.has_trip, answer.is_trip_member) == (True, True, True)


@pytest.mark.parametrize(
    ("script", "desired", "sentence"),
    [
        (INACTIVE, APPLIED, f"the membership is INACTIVE in Supabase, as the relay desires since "
         f"{SINCE}"),
        (INACTIVE, None, "the membership is INACTIVE in Supabase; the relay could not be asked"),
        ("", REMOVED, f"there is no membership in Supabase, as the relay desires since {SINCE}"),
        ("", Desired(), "the relay knows of no event about it"),
        ("", APPLIED, "somebody else removed the row. A replay writes it again"),
        ("", None, "there is no membership in Supabase; the relay could not be asked why"),
        ("", replace(APPLIED, state="pending", pending_since=SINCE, next_attempt_at="later",
         last_error_code="PGRST000", last_error="Database connection error"),
         f"Supabase is behind: the membership of {SINCE} waits to be written since {SINCE}, next"
         " attempt at later. Last error: PGRST000, Database connection error."),
        ("", replace(APPLIED, state="dead", last_error_code="22P02", last_error="invalid input"),
         "it is dead. Last error: 22P02, invalid input. Put that right, then replay it."),
        (ACTIVE + 'drop policy "members read" on chat_messages;', APPLIED,
         "although the membership is ACTIVE: the policies of chat_messages do not let"),
        (ACTIVE + "revoke select on trips from authenticated;", APPLIED,  # noqa: S608
         "although the membership is ACTIVE: the policies of trips do not let"),
    ],
)  # fmt: skip
async def test_denied_member_is_told_why(
    project: HostedProject, script: str, desired: Desired | None, sentence: str
) -> None:
    project.run(script or "select 1")

    answer = await ask(project, desired)

    assert answer.verdict is Verdict.DENIED
    assert answer.sentence.startswith("Denied")
    assert sentence in answer.sentence


async def test_member_removed_by_the_mapping_is_told_so(project: HostedProject) -> None:
    targets = Targets(memberships=read_target(Kind.MEMBERSHIP, '{"inactive": "remove"}'))

    answer = await ask(project, APPLIED, targets=targets)

    assert "is not ACTIVE, which TARGET_MEMBERSHIPS removes" in answer.sentence


async def test_unknown_user_of_an_unknown_trip_is_told_that_neither_is_there(
    hosted: HostedServer,
) -> None:
    answer = await ask(hosted.make_project(), Desired())

    assert answer.verdict is Verdict.DENIED
    assert "Nor is there the trip. Nor is there the user." in answer.sentence


async def test_inactive_member_who_reads_is_allowed_and_the_policy_blamed(
    project: HostedProject,
) -> None:
    project.run(INACTIVE + 'alter policy "own trips are readable" on trips using (true);')
    project.run("alter table chat_messages disable row level security")

    answer = await ask(project, APPLIED)

    assert answer.verdict is Verdict.ALLOWED
    assert "Allowed although the membership is INACTIVE" in answer.sentence


async def test_member_about_to_be_removed_is_allowed_at_the_moment(project: HostedProject) -> None:
    project.run(ACTIVE)

    answer = await ask(project, replace(REMOVED, state="pending", pending_since=SINCE))

    assert answer.verdict is Verdict.ALLOWED
    assert answer.sentence.startswith(
        f"Allowed at the moment. Supabase is behind: the removal of the membership of {SINCE} waits"
    )


async def test_supabase_that_is_away_is_unreachable() -> None:
    async with Project(
        "http://127.0.0.1:9",
        relay_headers=read_key(SECRET_KEY)[1],
        app_headers=read_app_key(PUBLISHABLE_KEY),
        sign_token=lambda _: "t",
        timeout_seconds=5,
        clock=time.time,
    ) as opened:
        user = await opened.as_user(USER)
        assert user is not None
        answer = await examine_access(
            opened, user, MINIMAL_TARGETS, user_id=USER, trip_id=TRIP, tables=(), desired=None
        )

    assert answer.verdict is Verdict.UNREACHABLE
