"""Why a user can or cannot join a topic is answered as Realtime decides it."""

from typing import Final

import psycopg
import pytest

from app.doctor.realtime import Answer
from app.doctor.topic_access import TopicAccess, explain_topics
from app.supabase.targets import MINIMAL_TARGETS
from tests.doctor.hosted import HostedProject, HostedServer
from tests.doctor.test_trip_policies import (
    ACTIVE,
    BACKEND,
    INACTIVE,
    OTHER_TRIP,
    ROWS_OF_BACKEND,
    STRANGER,
    TRIP,
)

POLICIES: Final = """
create policy "members listen" on realtime.messages for select to authenticated using (exists (
  select 1 from public.trip_memberships m where realtime.topic() = 'trip:' || m.trip_id
  and m.user_id = (select auth.uid()) and m.status = 'ACTIVE'));
create policy "members send" on realtime.messages for insert to authenticated with check (
  extension = 'broadcast' and exists (
  select 1 from public.trip_memberships m where realtime.topic() = 'trip:' || m.trip_id
  and m.user_id = (select auth.uid()) and m.status = 'ACTIVE'));
create policy "own topic" on realtime.messages for select to authenticated
  using (extension = 'broadcast' and realtime.topic() = 'user:' || (select auth.uid()));
"""
OPEN: Final = 'create policy "all" on realtime.messages for select to authenticated using (true);'
CAST: Final = """create policy "cast" on realtime.messages for {} to authenticated {}
  (split_part(realtime.topic(), ':', 2)::uuid is not null);"""


@pytest.fixture
def project(hosted: HostedServer) -> HostedProject:
    """A project with members, and no policy on topics."""
    project = hosted.make_project(BACKEND)
    project.run(ROWS_OF_BACKEND)
    return project


def explain(project: HostedProject, user_id: str, topic: str) -> TopicAccess:
    """Explain a topic, and check that nothing was changed."""
    before = project.digest()
    (access,) = explain_topics(project.db_url, MINIMAL_TARGETS, user_id, [topic])
    assert project.digest() == before
    return access


@pytest.mark.parametrize(
    ("user_id", "topic", "join", "sentence"),
    [
        (ACTIVE, f"trip:{TRIP}", Answer.ALLOWED,
         "Allowed: receive broadcast, receive presence and send broadcast."),
        (ACTIVE, f"user:{ACTIVE}", Answer.ALLOWED, "Allowed: receive broadcast. Not to send: no"
         ' policy on realtime.messages for insert permits the topic: "members send".'),
        (INACTIVE, f"trip:{TRIP}", Answer.DENIED, "Denied: the membership is INACTIVE in Supabase."
         " Realtime answers CHANNEL_ERROR, with the reason Unauthorized."),
        (STRANGER, f"trip:{TRIP}", Answer.DENIED,
         f"Denied: the user has no membership of the trip {TRIP} in Supabase."),
        (ACTIVE, f"trip-messages-{TRIP}", Answer.DENIED,
         "Denied: the membership is ACTIVE in Supabase, but no policy on realtime.messages for"
         ' select permits the topic: "members listen" and "own topic".'),
        (ACTIVE, f"user:{STRANGER}", Answer.DENIED,
         f"Denied: the topic is not the user's own, user:{ACTIVE}."),
        (ACTIVE, "lobby", Answer.DENIED, "Denied: the topic names no trip and no user; expected"
         " trip:<trip id> or user:<user id>."),
        (ACTIVE, "trip:' or true --", Answer.DENIED, "Denied: the topic names no trip"),
    ],
)  # fmt: skip
def test_topic_is_explained_by_membership_and_policies(
    project: HostedProject, user_id: str, topic: str, join: Answer, sentence: str
) -> None:
    project.run(POLICIES)

    access = explain(project, user_id, topic)

    assert access.join is join
    assert access.sentence.startswith(sentence)


def test_topic_without_policies_names_their_absence(project: HostedProject) -> None:
    sentence = explain(project, ACTIVE, f"trip:{TRIP}").sentence

    wanted = "but no policy on realtime.messages for select applies to authenticated"
    assert wanted in sentence


def test_topic_that_is_open_to_an_inactive_member_says_so(project: HostedProject) -> None:
    project.run(OPEN)

    access = explain(project, INACTIVE, f"trip:{TRIP}")

    assert access.join is Answer.ALLOWED
    assert "That is although the membership is INACTIVE in Supabase" in access.sentence


def test_policy_that_raises_is_named_as_the_cause(project: HostedProject) -> None:
    project.run(POLICIES + CAST.format("select", "using"))

    assert explain(project, ACTIVE, f"trip:{TRIP}").join is Answer.ALLOWED
    access = explain(project, ACTIVE, "trip:rome")
    assert access.join is Answer.RAISED
    assert 'for select raises: invalid input syntax for type uuid: "rome"' in access.sentence


def test_policy_that_raises_on_sending_leaves_the_join(project: HostedProject) -> None:
    project.run(OPEN + CAST.format("insert", "with check"))

    access = explain(project, ACTIVE, "trip:rome")

    assert access.join is Answer.ALLOWED
    assert access.allowed == ["receive broadcast", "receive presence"]
    assert "A send fails, as a policy for insert raises: invalid input" in access.sentence


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("do $$ begin execute (select format('drop table %s', inhrelid::regclass) from pg_inherits"
         " where inhparent = 'realtime.messages'::regclass); end $$",
         "realtime.messages has no partition for today"),
        ("drop table realtime.messages", "the project has no table realtime.messages"),
    ],
    ids=["no partition", "no table"],
)  # fmt: skip
def test_topic_that_realtime_could_not_check_is_unknown(
    project: HostedProject, script: str, sentence: str
) -> None:
    project.run(script)

    access = explain(project, ACTIVE, f"trip:{OTHER_TRIP}")

    assert access.join is None
    assert sentence in access.sentence


def test_role_that_may_not_ask_is_named(project: HostedProject) -> None:
    project.run("create role nobody login password 'secret'; grant usage on schema relay to nobody")
    try:
        url = psycopg.conninfo.make_conninfo(project.db_url, user="nobody", password="secret")
        (access,) = explain_topics(url, MINIMAL_TARGETS, ACTIVE, [f"trip:{TRIP}"])
    finally:
        project.run("drop owned by nobody; drop role nobody")

    assert access.join is None
    assert "the role of --db-url may not insert into realtime.messages" in access.sentence
    assert "secret" not in access.sentence
