"""What of a row a member may write: never its time, its trip or its author."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
import pytest

from tests.contract.world import WorldMaker, keep_columns

AsUser = Callable[[UUID], httpx.Client]
LONG_AGO = "2000-01-01T00:00:00Z"


@pytest.mark.parametrize("column", ["trip_id", "user_id", "created_at", "id"])
def test_author_editing_more_than_the_body_is_refused(
    column: str, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    key = {"id": f"eq.{world.message_ids[world.caller_id]}"}
    before = world.read("chat_messages", key)
    value = LONG_AGO if column == "created_at" else str(world.fellow_id)

    response = as_user(world.caller_id).patch("chat_messages", params=key, json={column: value})

    assert (response.status_code, response.json()["code"]) == (403, "42501")
    assert world.read("chat_messages", key) == before


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("own message", "created_at"),
        ("own reaction", "created_at"),
        ("own receipt", "read_at"),
        ("own presence", "last_seen_at"),
    ],
)
def test_member_setting_the_time_of_a_new_row_is_refused(
    kind: str, column: str, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    target = world.find_target(kind)

    response = as_user(world.caller_id).post(
        target.table, json={**target.new_row, column: LONG_AGO}
    )

    assert (response.status_code, response.json()["code"]) == (403, "42501")


@pytest.mark.parametrize(
    ("kind", "column"), [("own receipt", "read_at"), ("own presence", "last_seen_at")]
)
def test_member_changing_his_row_gets_the_time_from_the_database(
    kind: str, column: str, service_role: httpx.Client, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    target = world.find_target(kind)
    key = {name: f"eq.{target.row[name]}" for name in target.key}
    service_role.patch(target.table, params=key, json={column: LONG_AGO}).raise_for_status()
    member = as_user(world.caller_id)

    refused = member.patch(target.table, params=key, json={column: LONG_AGO})
    done = member.patch(target.table, params=key, json=target.change)

    assert (refused.status_code, done.is_success) == (403, True)
    assert str(world.read(target.table, key)[0][column]) > "2001"


@pytest.mark.parametrize("kind", ["own receipt", "own presence"])
@pytest.mark.parametrize(
    ("column", "whose"), [("user_id", "fellow"), ("trip_id", "foreign"), ("trip_id", "unknown")]
)
def test_member_moving_his_row_to_another_person_or_a_foreign_trip_is_refused(
    kind: str, column: str, whose: str, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    target = world.find_target(kind)
    key = {name: f"eq.{target.row[name]}" for name in target.key}
    values = {"fellow": world.fellow_id, "foreign": world.other_trip_id, "unknown": uuid4()}

    response = as_user(world.caller_id).patch(
        target.table, params=key, json={column: str(values[whose])}
    )

    assert (response.status_code, response.json()["code"]) == (403, "42501")
    assert len(world.read(target.table, key)) == 1


def test_reaction_naming_a_trip_other_than_its_messages_is_refused(
    make_world: WorldMaker, as_user: AsUser
) -> None:
    # The caller belongs to both trips: only the foreign key can tell.
    world = make_world("active")
    reaction = world.reaction(uuid4(), world.caller_id, "🎉")
    reaction = {**reaction, "trip_id": str(world.second_trip_id)}

    response = as_user(world.caller_id).post("chat_reactions", json=reaction)

    assert (response.status_code, response.json()["code"]) == (409, "23503")


def test_message_deleted_leaves_the_receipt_and_the_time_it_was_read(
    service_role: httpx.Client,
    make_world: WorldMaker,
) -> None:
    world = make_world("active")
    target = world.find_target("own receipt")
    key = {name: f"eq.{target.row[name]}" for name in target.key}
    service_role.patch(target.table, params=key, json=target.change).raise_for_status()
    (before,) = world.read(target.table, key)

    service_role.delete(
        "chat_messages", params={"id": f"eq.{target.change['message_id']}"}
    ).raise_for_status()

    (after,) = world.read(target.table, key)
    assert keep_columns(after, target.row) == target.row
    assert after["read_at"] == before["read_at"]
    assert world.read("chat_reactions", {"trip_id": f"eq.{world.trip_id}"}) == []
