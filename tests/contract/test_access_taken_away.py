"""A removed, inactive or deleted member keeps no access."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import httpx
import pytest

from tests.contract.world import ACTIONS, Action, World, WorldMaker, attempt, filter_by

AsUser = Callable[[UUID], httpx.Client]
ROWS_OF_A_TRIP = (
    "trip",
    "own message",
    "fellow's message",
    "own reaction",
    "fellow's reaction",
    "own receipt",
    "fellow's receipt",
    "own presence",
    "fellow's presence",
)
WAYS = ("removed", "inactive", "user deleted", "trip deleted")


def take_access(world: World, service_role: httpx.Client, how: str) -> None:
    """Do what the relay does for each event."""
    membership = {"trip_id": f"eq.{world.trip_id}", "user_id": f"eq.{world.caller_id}"}
    match how:
        case "removed":
            answer = service_role.delete("trip_memberships", params=membership)
        case "inactive":
            answer = service_role.patch(
                "trip_memberships", params=membership, json={"status": "INACTIVE"}
            )
        case "user deleted":
            answer = service_role.delete("users", params={"id": f"eq.{world.caller_id}"})
        case "trip deleted":
            answer = service_role.delete("trips", params={"id": f"eq.{world.trip_id}"})
        case _:
            raise AssertionError(how)
    answer.raise_for_status()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", ROWS_OF_A_TRIP)
def test_former_member_with_a_token_still_valid_reads_and_writes_nothing(
    name: str, how: str, service_role: httpx.Client, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    target = world.find_target(name)
    if "trip_id" in target.new_row:  # still a member of the second trip
        target = replace(target, new_row={**target.new_row, "trip_id": str(world.trip_id)})
    key = filter_by(target, target.row)
    member = as_user(world.caller_id)
    assert len(member.get(target.table, params=key).json()) == 1

    take_access(world, service_role, how)

    before = world.read(target.table, key)
    for action in ACTIONS:
        assert_nothing_came_of_it(action, attempt(member, action, target))
    assert world.read(target.table, key) == before


def assert_nothing_came_of_it(action: Action, response: httpx.Response) -> None:
    if action == "insert" or response.status_code == 403:
        assert (response.status_code, response.json()["code"]) == (403, "42501")
    else:
        assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("chat_messages", {"body": "goodbye"}),
        ("chat_reactions", {"emoji": "👎"}),
        ("chat_read_receipts", {"message_id": None}),
        ("user_presence", {"status": "offline"}),
    ],
)
def test_former_member_writing_without_a_filter_changes_nothing(
    table: str,
    change: dict[str, str | None],
    method: str,
    make_world: WorldMaker,
    as_user: AsUser,
) -> None:
    # Without a filter and without rows to return PostgreSQL does not check the select policy.
    world = make_world("inactive")
    key = {"trip_id": f"eq.{world.trip_id}", "order": "user_id"}
    before = world.read(table, key)

    as_user(world.caller_id).request(
        method,
        table,
        json=change if method == "PATCH" else None,
        headers={"Prefer": "return=minimal"},
    )

    assert len(before) == 2
    assert world.read(table, key) == before


# Others keep the messages of the former member, and lose the presence.
@pytest.mark.parametrize(
    ("how", "left"),
    [
        (
            "removed",
            {"chat_messages": 1, "chat_reactions": 1, "chat_read_receipts": 0, "user_presence": 0},
        ),
        (
            "user deleted",
            {"chat_messages": 1, "chat_reactions": 1, "chat_read_receipts": 0, "user_presence": 0},
        ),
        (
            "inactive",
            {"chat_messages": 1, "chat_reactions": 1, "chat_read_receipts": 1, "user_presence": 1},
        ),
        (
            "trip deleted",
            {"chat_messages": 0, "chat_reactions": 0, "chat_read_receipts": 0, "user_presence": 0},
        ),
    ],
)
def test_rows_of_a_former_member_stay_or_go_as_documented(
    how: str, left: dict[str, int], service_role: httpx.Client, make_world: WorldMaker
) -> None:
    world = make_world("active")
    key = {"trip_id": f"eq.{world.trip_id}", "user_id": f"eq.{world.caller_id}"}

    take_access(world, service_role, how)

    assert {table: len(world.read(table, key)) for table in left} == left


def test_trip_deleted_takes_memberships_and_messages_with_it(
    service_role: httpx.Client, make_world: WorldMaker
) -> None:
    world = make_world("active")

    take_access(world, service_role, "trip deleted")

    assert world.read("trip_memberships", {"trip_id": f"eq.{world.trip_id}"}) == []
    assert world.read("chat_messages", {"trip_id": f"eq.{world.trip_id}"}) == []


def test_user_deleted_keeps_his_trips_and_messages(
    service_role: httpx.Client, make_world: WorldMaker
) -> None:
    world = make_world("active")

    service_role.delete("users", params={"id": f"eq.{world.fellow_id}"}).raise_for_status()

    assert len(world.read("trips", {"created_by": f"eq.{world.fellow_id}"})) == 4
    assert len(world.read("chat_messages", {"user_id": f"eq.{world.fellow_id}"})) == 1
    assert world.read("trip_memberships", {"user_id": f"eq.{world.fellow_id}"}) == []
