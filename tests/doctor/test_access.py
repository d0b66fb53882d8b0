"""Each reason for access, or for its lack, is explained."""

import uuid
from dataclasses import replace

import pytest

from app.doctor.access import Access, Desired, check_access
from app.doctor.access_reader import AccessReader
from app.doctor.trip_reading import Outcome
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.doctor.harness import open_project
from tests.doctor.hosted import HostedProject, HostedServer

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


async def explain(
    hosted: HostedProject, desired: Desired | None = None, targets: Targets = MINIMAL_TARGETS
) -> Access:
    before = hosted.digest()
    async with open_project(hosted, targets) as project:
        user = project.as_user(USER)
        assert user is not None
        access = await check_access(
            project, user, user_id=USER, trip_id=TRIP, tables=TABLES, desired=desired
        )
    assert hosted.digest() == before
    return access


@pytest.fixture
def project(hosted: HostedServer) -> HostedProject:
    project = hosted.make_project()
    project.run(ROWS)
    return project


async def test_active_member_is_allowed_and_every_table_is_read(
    project: HostedProject,
) -> None:
    project.run(ACTIVE)

    access = await explain(project, APPLIED)

    assert access.verdict is Outcome.ALLOWED
    assert access.sentence.startswith("Allowed: the membership is ACTIVE")
    assert {reading.table: reading.outcome for reading in access.readings} == {
        "trips": Outcome.ALLOWED,
        "chat_messages": Outcome.ALLOWED,
        "chat_reactions": Outcome.NO_ROWS,
        "polls": Outcome.NO_TABLE,
    }
    assert (access.has_user, access.has_trip, access.is_trip_member) == (True, True, True)


@pytest.mark.parametrize(
    ("script", "desired", "sentence"),
    [
        (INACTIVE, APPLIED, f"the membership is INACTIVE in Supabase, which is the desired state "
         f"since {SINCE}"),
        (INACTIVE, None, "the membership is INACTIVE in Supabase; the relay could not be queried"),
        ("", REMOVED, "the membership is missing in Supabase, which is the desired state since"),
        ("", Desired(), "is missing in Supabase; the relay has received no event about it"),
        ("", APPLIED, "another client deleted the row. A replay writes it again"),
        ("", None, "the membership is missing in Supabase; the relay could not be queried"),
        ("", replace(APPLIED, state="pending", pending_since=SINCE, next_attempt_at="later",
         last_error_code="PGRST000", last_error="Database connection error"),
         f"Supabase is behind: the membership of {SINCE} is pending since {SINCE}, next"
         " attempt at later. Last error: PGRST000, Database connection error."),
        ("", replace(APPLIED, state="dead", last_error_code="22P02", last_error="invalid input"),
         "which is dead. Last error: 22P02, invalid input. Fix the cause, then replay it."),
        (ACTIVE + 'drop policy "members read" on chat_messages;', APPLIED,
         "although the membership is ACTIVE: the policies of chat_messages do not let"),
        (ACTIVE + "revoke select on trips from authenticated;", APPLIED,  # noqa: S608
         "although the membership is ACTIVE: the policies of trips do not let"),
    ],
)  # fmt: skip
async def test_denied_access_is_explained(
    project: HostedProject, script: str, desired: Desired | None, sentence: str
) -> None:
    project.run(script or "select 1")

    access = await explain(project, desired)

    assert access.verdict is Outcome.DENIED
    assert access.sentence.startswith("Denied")
    assert sentence in access.sentence


async def test_denied_access_by_an_inactive_row_that_the_mapping_removes_is_explained(
    project: HostedProject,
) -> None:
    targets = Targets(memberships=read_target(Kind.MEMBERSHIP, '{"inactive": "remove"}'))

    access = await explain(project, APPLIED, targets)

    assert "is not ACTIVE and TARGET_MEMBERSHIPS removes such rows" in access.sentence


async def test_denied_access_without_user_and_trip_names_both_as_missing(
    hosted: HostedServer,
) -> None:
    access = await explain(hosted.make_project(), Desired())

    assert access.verdict is Outcome.DENIED
    assert "The trip is missing, too. The user is missing, too." in access.sentence


async def test_access_of_an_inactive_member_is_explained_by_a_policy(
    project: HostedProject,
) -> None:
    project.run(INACTIVE + 'alter policy "own trips are readable" on trips using (true);')
    project.run("alter table chat_messages disable row level security")

    access = await explain(project, APPLIED)

    assert access.verdict is Outcome.ALLOWED
    assert "Allowed although the membership is INACTIVE" in access.sentence


async def test_access_with_a_pending_removal_is_allowed_at_the_moment(
    project: HostedProject,
) -> None:
    project.run(ACTIVE)

    access = await explain(project, replace(REMOVED, state="pending", pending_since=SINCE))

    assert access.verdict is Outcome.ALLOWED
    assert access.sentence.startswith(
        f"Allowed at the moment. Supabase is behind: the removal of the membership of {SINCE} is"
    )


async def test_unreachable_supabase_is_reported(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.refuses_connections = True

    access = await explain(project)

    assert access.verdict is Outcome.UNREACHABLE


async def explain_by_rows(
    hosted: HostedProject, desired: Desired, targets: Targets = MINIMAL_TARGETS
) -> Access:
    async with open_project(hosted, targets) as project:
        return await AccessReader(project.relay, targets).explain(USER, TRIP, desired)


@pytest.mark.parametrize(
    ("script", "desired", "verdict", "sentence"),
    [
        (ACTIVE, APPLIED, Outcome.ALLOWED,
         "Should be able to read: the membership is ACTIVE in Supabase."),
        (INACTIVE, APPLIED, Outcome.DENIED, "Should not be able to read: the membership is INACTIVE"
         f" in Supabase, which is the desired state since {SINCE}."),
        ("", Desired(), Outcome.DENIED, "Should not be able to read: the membership is missing in"
         " Supabase; the relay has received no event about it from the backend."),
        (ACTIVE, replace(REMOVED, state="pending", pending_since=SINCE), Outcome.ALLOWED,
         "Should be able to read at the moment. Supabase is behind: the removal of the membership"
         f" of {SINCE} is pending since {SINCE}."),
        (ACTIVE, REMOVED, Outcome.ALLOWED, "Should be able to read: the membership is ACTIVE in"
         f" Supabase. The relay removed it, as desired since {SINCE}, so another client wrote it"
         " again. A check for drift removes it: relay reconcile."),
    ],
)  # fmt: skip
async def test_access_by_the_rows_alone_is_an_expectation(
    project: HostedProject, script: str, desired: Desired, verdict: Outcome, sentence: str
) -> None:
    project.run(script or "select 1")
    before = project.digest()
    access = await explain_by_rows(project, desired)
    assert project.digest() == before
    assert (access.verdict, access.sentence) == (verdict, sentence)
    assert (access.has_user, access.has_trip) == (True, True)
    assert (access.readings, access.is_trip_member) == ((), None)


async def test_access_by_the_rows_of_an_unreachable_supabase_is_unknown(
    hosted: HostedServer,
) -> None:
    project = hosted.make_project()
    project.refuses_connections = True
    access = await explain_by_rows(project, APPLIED)
    assert access.verdict is Outcome.UNREACHABLE
    assert "could not be read" in access.sentence
