"""Writing the tables of the migrations, on every server."""

from typing import Any

import pytest

from tests.contract.wire.driver import (
    Operation,
    Wire,
    delete,
    failure,
    update,
    upsert,
    without_messages,
)
from tests.contract.wire.people import People

MEMBERSHIP_KEY = ("trip_id", "user_id")


def test_upsert_inserts_and_updates_and_delete_removes(any_wire: Wire, people: People) -> None:
    users = people.make_users(3)
    assert any_wire.apply(upsert("public.users", *users[:2])).failures == []
    users[1]["username"] = "Grace"

    answer = any_wire.apply(
        upsert("public.users", *users[1:]), delete("public.users", {"id": users[0]["id"]})
    )

    assert (answer.failures, answer.not_tried) == ([], [])
    assert people.read("users") == users[1:]


def test_delete_of_a_row_that_is_not_there_succeeds(any_wire: Wire, people: People) -> None:
    rows = [{"id": user["id"]} for user in people.make_users(2)]

    assert any_wire.apply(delete("public.users", *rows)).failures == []
    assert any_wire.apply(delete("public.users", rows[0])).failures == []


def test_table_without_a_schema_is_in_public(any_wire: Wire, people: People) -> None:
    user = people.make_user()

    assert any_wire.apply(upsert("users", user)).failures == []

    assert people.read("users") == [user]


def test_operations_are_applied_in_their_order(any_wire: Wire, people: People) -> None:
    user, trip = people.make_user(), people.make_trip()
    membership = people.make_membership(trip, user)

    answer = any_wire.apply(
        upsert("public.users", user),
        upsert("public.trips", trip),
        upsert("public.trip_memberships", membership, key=MEMBERSHIP_KEY),
        delete("public.users", {"id": user["id"]}),
        upsert("public.users", user),
    )

    assert answer.failures == []
    assert people.read("users") == [user]
    assert people.read("trip_memberships") == []


def test_composite_key_identifies_a_row(any_wire: Wire, people: People) -> None:
    users, trip = people.make_users(3), people.make_trip()
    memberships = [people.make_membership(trip, user) for user in users]
    any_wire.apply(
        upsert("public.users", *users),
        upsert("public.trips", trip),
        upsert("public.trip_memberships", *memberships, key=MEMBERSHIP_KEY),
    )

    answer = any_wire.apply(
        delete(
            "public.trip_memberships",
            {"trip_id": trip["id"], "user_id": users[0]["id"]},
            key=MEMBERSHIP_KEY,
        ),
        upsert(
            "public.trip_memberships",
            {**memberships[1], "status": "INACTIVE"},
            key=MEMBERSHIP_KEY,
        ),
    )

    assert answer.failures == []
    assert people.read("trip_memberships") == [
        {**memberships[1], "status": "INACTIVE"},
        memberships[2],
    ]


def test_update_changes_the_columns_given_and_reports_a_row_that_is_not_there(
    any_wire: Wire, people: People
) -> None:
    users = people.make_users(3)
    any_wire.apply(upsert("public.users", users[0], users[2]))

    answer = any_wire.apply(
        update("public.users", *({"id": user["id"], "username": "Ada"} for user in users))
    )

    assert answer.failures == [failure(1, "P0002")]
    assert people.read("users") == [{**user, "username": "Ada"} for user in (users[0], users[2])]


def test_one_bad_row_of_many_fails_alone(any_wire: Wire, people: People) -> None:
    users = people.make_users(20)
    users[7]["email"] = None

    answer = any_wire.apply(upsert("public.users", *users))

    assert answer.failures == [
        failure(
            7,
            "23502",
            schema="public",
            table="users",
            column="email",
            message='null value in column "email" of relation "users" violates not-null constraint',
        )
    ]
    assert people.read("users") == users[:7] + users[8:]


def test_missing_reference_names_the_constraint_and_the_column(
    any_wire: Wire, people: People
) -> None:
    user, trip = people.make_user(), people.make_trip()

    answer = any_wire.apply(
        upsert("public.users", user),
        upsert("public.trip_memberships", people.make_membership(trip, user), key=MEMBERSHIP_KEY),
    )

    assert without_messages(answer.failures) == [
        failure(
            0,
            "23503",
            1,
            schema="public",
            table="trip_memberships",
            column="trip_id",
            constraint="trip_memberships_trip_id_fkey",
        )
    ]
    assert people.read("users") == [user]


def test_id_that_is_no_uuid_fails_alone_and_is_not_quoted(any_wire: Wire, people: People) -> None:
    user = people.make_user()

    answer = any_wire.apply(
        upsert("public.users", {**user, "id": "a-value-of-a-row"}, user),
    )

    assert without_messages(answer.failures) == [failure(0, "22P02")]
    assert people.read("users") == [user]


@pytest.mark.parametrize(
    ("operation", "sqlstate"),
    [
        (upsert("public.no_such_table", {"id": "1"}, {"id": "2"}), "42P01"),
        (update("public.no_such_table", {"id": "1", "a": 1}, {"id": "2", "a": 1}), "42P01"),
        (delete("public.no_such_table", {"id": "1"}, {"id": "2"}), "42P01"),
        (delete("no_such_schema.users", {"id": "1"}, {"id": "2"}), "42P01"),
        (upsert("public.users", {"id": "1", "none": 1}, {"id": "2", "none": 1}), "42703"),
        (update("public.users", {"id": "1", "none": 1}, {"id": "2", "none": 1}), "42703"),
        (delete("public.users", {"none": "1"}, {"none": "2"}, key=("none",)), "42703"),
        (
            upsert(
                "public.users",
                {"id": "00000000-0000-0000-0000-000000000001", "email": "a", "username": "a"},
                {"id": "00000000-0000-0000-0000-000000000002", "email": "b", "username": "b"},
                key=("username",),
            ),
            "42P10",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value["operation"],
)
def test_wrong_table_column_or_key_fails_every_row_of_its_operation_alone(
    any_wire: Wire, people: People, operation: Operation, sqlstate: str
) -> None:
    user = people.make_user()

    answer = any_wire.apply(operation, upsert("public.users", user))

    assert without_messages(answer.failures) == [failure(0, sqlstate), failure(1, sqlstate)]
    assert all(failed["message"] for failed in answer.failures)
    assert people.read("users") == [user]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        'O\'Brien "quoted" \\ back\\\\slash \\n \\u0041',
        "line\nbreak\ttab\r\x01\x7f",
        "\u2028\u2029\ufeff\u200b",
        "👩\u200d👩\u200d👧 \U0001f1ea\U0001f1f8 \U0001d518\U0001d52b\U0001d526",
        "'; drop table public.users; --",
        "%s %I $1 $$ {} null NULL",
        "{1,2}",
        '{"a": [1]}',
        "é e\u0301 İı ß",
    ],
)
def test_text_arrives_as_it_is(any_wire: Wire, people: People, text: str) -> None:
    user = people.make_user(username=text)

    assert any_wire.apply(upsert("public.users", user)).failures == []

    assert people.read("users") == [user]


def test_five_hundred_rows_are_written_and_removed(any_wire: Wire, people: People) -> None:
    users = people.make_users(500)

    assert any_wire.apply(upsert("public.users", *users)).failures == []
    assert people.read("users") == users

    rows = [{"id": user["id"]} for user in users]
    assert any_wire.apply(delete("public.users", *rows)).failures == []
    assert people.read("users") == []


def test_five_hundred_rows_of_which_some_fail(any_wire: Wire, people: People) -> None:
    users: list[dict[str, Any]] = people.make_users(500)
    bad = {0, 250, 499}
    for number in bad:
        users[number]["username"] = None

    # The slowest server needs a while for 500 subtransactions.
    answer = any_wire.apply(upsert("public.users", *users), budget_ms=30_000)

    assert {failed["row"] for failed in answer.failures} == bad
    assert len(people.read("users")) == 497


def test_nothing_to_do_succeeds(any_wire: Wire, people: People) -> None:
    user = people.make_user()

    assert any_wire.apply().failures == []
    assert any_wire.apply(upsert("public.users")).failures == []
    answer = any_wire.apply(delete("public.no_such_table"), upsert("public.users", user))
    assert (answer.failures, answer.not_tried) == ([], [])
    assert people.read("users") == [user]
