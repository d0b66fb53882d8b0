"""The users that may join a trip's private channel, checked as Realtime does.

Realtime answers a join (and a new token) by a rehearsal in a transaction that it rolls back: it
writes a row of each extension, becomes the caller with the topic set, looks which of them it can
read, and tries to write its own (`Realtime.Tenants.Authorization` in its published source).
"""

from uuid import UUID, uuid4

import pytest

from tests.contract.database import REFUSED, Database, Refused
from tests.contract.project import read_project
from tests.contract.sql_world import create_caller, create_trip
from tests.contract.world import ACTIONS, Action

EXTENSIONS = ("broadcast", "presence")
EVERYTHING = {"read broadcast", "read presence", "write broadcast", "write presence"}
TABLE = "realtime.messages"


@pytest.fixture(autouse=True)
def _realtime(database: Database) -> None:
    """Skip on a project without Realtime, or whose Realtime has made no partition for today."""
    with database.undone():
        try:
            database.run(f"insert into {TABLE} (topic, extension) values ('', 'broadcast')")  # noqa: S608
        except Refused as refused:
            if read_project() is None:
                raise
            pytest.skip(str(refused))


def ask_as_realtime_does(
    database: Database, role: str, user_id: UUID | None, topic: str | None
) -> set[str]:
    """Give what the caller may do with the topic.

    Raises:
        Refused: a policy raised. Realtime would answer every join with an error.
    """
    allowed = set()
    with database.undone():
        insert = f"insert into {TABLE} (topic, extension) values ($1, $2)"  # noqa: S608 - ours
        for extension in EXTENSIONS:
            database.run(insert, topic or "", extension)
        with database.as_caller(role, user_id, topic=topic):
            for row in database.run(
                f"select extension from {TABLE} where topic = $1",  # noqa: S608 - ours
                topic or "",
            ):
                allowed.add(f"read {row['extension']}")
            for extension in EXTENSIONS:
                with database.undone():
                    try:
                        database.run(insert, topic or "", extension)
                    except Refused as refused:
                        if refused.code != REFUSED:
                            raise
                    else:
                        allowed.add(f"write {extension}")
    return allowed


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("stranger", set()),
        ("other trip's", set()),
        ("inactive", set()),
        ("removed", set()),
        ("user deleted", set()),
        ("trip deleted", set()),
        ("active", EVERYTHING),
    ],
)
def test_topic_of_a_trip_is_open_to_active_members_only(
    database: Database, caller: str, expected: set[str]
) -> None:
    trip_id, user_id = create_caller(database, caller)

    assert ask_as_realtime_does(database, "authenticated", user_id, f"trip:{trip_id}") == expected


@pytest.mark.parametrize(("role", "expected"), [("anon", set()), ("service_role", EVERYTHING)])
def test_topic_of_a_trip_is_closed_to_anon_and_open_to_the_servers_key(
    database: Database, role: str, expected: set[str]
) -> None:
    trip_id, user_id = create_caller(database, "active")

    # Even an anonymous token that names a member.
    assert ask_as_realtime_does(database, role, user_id, f"trip:{trip_id}") == expected


@pytest.mark.parametrize(
    "form",
    [
        "trip:not-a-uuid",
        "trip:",
        "trip",
        "",
        "{id}",
        "trip:{id} ",
        "trip:{id}\n",
        " trip:{id}",
        "trip:{id}:typing",
        "trip:{{{id}}}",
        "xtrip:{id}",
        "TRIP:{id}",
        "trip:{upper}",
        "trip:{compact}",
        "trip:{id}' or true --",
        "trip:%",
        "trip:\uff11{id}",
    ],
)
def test_topic_that_names_no_trip_is_denied_and_raises_nothing(
    database: Database, form: str
) -> None:
    trip_id, user_id = create_caller(database, "active")
    topic = form.format(id=trip_id, upper=str(trip_id).upper(), compact=trip_id.hex)

    assert ask_as_realtime_does(database, "authenticated", user_id, topic) == set()


def test_no_topic_and_no_user_are_denied(database: Database) -> None:
    trip_id, user_id = create_caller(database, "active")

    assert ask_as_realtime_does(database, "authenticated", user_id, None) == set()
    assert ask_as_realtime_does(database, "authenticated", None, f"trip:{trip_id}") == set()


def test_extension_other_than_broadcast_and_presence_is_denied(database: Database) -> None:
    trip_id, user_id = create_caller(database, "active")
    topic = f"trip:{trip_id}"

    with (
        database.as_caller("authenticated", user_id, topic=topic),
        pytest.raises(Refused, match=REFUSED),
    ):
        database.run(
            f"insert into {TABLE} (topic, extension) values ($1, 'postgres_changes')",  # noqa: S608
            topic,
        )


def test_member_of_two_trips_who_leaves_one_keeps_the_other(database: Database) -> None:
    user_id = uuid4()
    left, kept = create_trip(database, user_id), create_trip(database, user_id)

    database.run("delete from public.trip_memberships where trip_id = $1", left)

    answers = [
        ask_as_realtime_does(database, "authenticated", user_id, f"trip:{trip_id}")
        for trip_id in (left, kept)
    ]
    assert answers == [set(), EVERYTHING]


# As in test_row_level_security.py; the row is a broadcast of the trip's topic.
EXPECTED = {
    "anon": ".x.x",
    "stranger": ".x.x",
    "other trip's": ".x.x",
    "inactive": ".x.x",
    "active": "yy.x",
}
STATEMENTS = {
    "select": f"select id from {TABLE} where topic = $1",  # noqa: S608 - ours
    "insert": f"insert into {TABLE} (topic, extension) values ($1, 'broadcast')",  # noqa: S608
    "update": f"update {TABLE} set event = 'x' where topic = $1 returning id",  # noqa: S608
    "delete": f"delete from {TABLE} where topic = $1 returning id",  # noqa: S608 - ours
}


@pytest.mark.parametrize(
    ("caller", "action", "outcome"),
    [
        (caller, action, outcome)
        for caller, cell in EXPECTED.items()
        for action, outcome in zip(ACTIONS, cell, strict=True)
    ],
)
def test_stored_broadcast_tried_by_caller_ends_as_the_table_says(
    database: Database, caller: str, action: Action, outcome: str
) -> None:
    trip_id, user_id = create_caller(database, "active" if caller == "anon" else caller)
    topic = f"trip:{trip_id}"
    database.run(STATEMENTS["insert"], topic)
    role = "anon" if caller == "anon" else "authenticated"

    with database.as_caller(role, user_id, topic=topic):
        if outcome == "x":
            with pytest.raises(Refused, match=REFUSED):
                database.run(STATEMENTS[action], topic)
            return
        rows = database.run(STATEMENTS[action], topic)

    assert len(rows) == (1 if outcome == "y" and action == "select" else 0)
