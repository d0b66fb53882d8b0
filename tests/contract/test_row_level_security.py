"""The permissions of each caller on each table, checked cell by cell on a real Supabase."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
import pytest

from tests.contract.world import (
    ACTIONS,
    CALLERS,
    Action,
    Target,
    World,
    WorldMaker,
    attempt,
    filter_by,
    keep_columns,
)

# One cell is the outcome of select, insert, update, delete:
#   y  done
#   x  refused: 401 for anon, 403 for a user, with SQLSTATE 42501
#   .  a success that finds no row
# The fellow is another ACTIVE member. "own" rows of anon and service_role belong to a third one.
EXPECTED = {
    #                      anon    stranger  other   inactive  active  service_role
    "own account":         "xxxx    yxxx      yxxx    yxxx      yxxx    yyyy",
    "fellow's account":    "xxxx    .xxx      .xxx    .xxx      .xxx    yyyy",
    "trip":                "xxxx    .xxx      .xxx    .xxx      yxxx    yyyy",
    "own membership":      "xxxx    .xxx      .xxx    yxxx      yxxx    yyyy",
    "fellow's membership": "xxxx    .xxx      .xxx    .xxx      yxxx    yyyy",
    "own message":         "xxxx    .x..      .x..    .x..      yyyy    yyyy",
    "fellow's message":    "xxxx    .x..      .x..    .x..      yx..    yyyy",
    "own reaction":        "xxxx    .xx.      .xx.    .xx.      yyxy    yyyy",
    "fellow's reaction":   "xxxx    .xx.      .xx.    .xx.      yxx.    yyyy",
    "own receipt":         "xxxx    .x..      .x..    .x..      yyyy    yyyy",
    "fellow's receipt":    "xxxx    .x..      .x..    .x..      yx..    yyyy",
    "own presence":        "xxxx    .x..      .x..    .x..      yyyy    yyyy",
    "fellow's presence":   "xxxx    .x..      .x..    .x..      yx..    yyyy",
}  # fmt: skip


def list_cells() -> list[tuple[str, str, str]]:
    return [
        (name, caller, cell)
        for name, line in EXPECTED.items()
        for caller, cell in zip(CALLERS, line.split(), strict=True)
    ]


@pytest.fixture
def open_caller(
    anon: httpx.Client, service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> Callable[[str, UUID], httpx.Client]:
    def open_for(caller: str, caller_id: UUID) -> httpx.Client:
        match caller:
            case "anon":
                return anon
            case "service_role":
                return service_role
            case _:
                return as_user(caller_id)

    return open_for


@pytest.mark.parametrize(("name", "caller", "cell"), list_cells())
def test_row_tried_by_caller_ends_as_the_table_says(
    name: str,
    caller: str,
    cell: str,
    make_world: WorldMaker,
    open_caller: Callable[[str, UUID], httpx.Client],
) -> None:
    world = make_world(caller)
    target = world.find_target(name)
    client = open_caller(caller, world.caller_id)
    for action, outcome in zip(ACTIONS, cell, strict=True):
        assert_outcome(client, world, target, action, outcome, is_anon=caller == "anon")


def assert_outcome(
    client: httpx.Client,
    world: World,
    target: Target,
    action: Action,
    outcome: str,
    *,
    is_anon: bool,
) -> None:
    """Try an action on the target, and compare the response and the rows with the outcome."""
    key, new_key = filter_by(target, target.row), filter_by(target, target.new_row)
    before = world.read(target.table, key), world.read(target.table, new_key)

    response = attempt(client, action, target)

    after = world.read(target.table, key), world.read(target.table, new_key)
    said = f"{action}: {response.status_code} {response.text}"
    match outcome:
        case "y" if action == "insert":
            assert response.status_code == 201, said
            assert [keep_columns(row, target.new_row) for row in after[1]] == [target.new_row]
        case "y":
            assert response.status_code == 200, said
            assert len(before[0]) == len(response.json()) == 1, said
            old = keep_columns(before[0][0], target.row)
            left = {"select": [old], "update": [{**old, **target.change}], "delete": []}
            assert [keep_columns(row, target.row) for row in after[0]] == left[action], said
        case "x":
            assert response.status_code == (401 if is_anon else 403), said
            assert response.json()["code"] == "42501", said
            assert after == before, said
        case ".":
            assert response.status_code == 200, said
            assert response.json() == [], said
            assert after == before, said
        case _:
            raise AssertionError(outcome)


@pytest.mark.parametrize("function", ["is_trip_member", "active_trip_ids"])
@pytest.mark.parametrize(
    ("caller", "is_member"),
    [("active", True), ("inactive", False), ("other trip's", False), ("stranger", False)],
)
def test_helper_asked_by_user_counts_active_memberships_only(
    caller: str,
    is_member: bool,
    function: str,
    make_world: WorldMaker,
    as_user: Callable[[UUID], httpx.Client],
) -> None:
    world = make_world(caller)
    arguments = {"trip_id": str(world.trip_id)} if function == "is_trip_member" else {}

    response = as_user(world.caller_id).post(f"rpc/{function}", json=arguments)

    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer if isinstance(answer, bool) else str(world.trip_id) in answer) is is_member


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("is_trip_member", {"trip_id": str(uuid4())}),
        ("active_trip_ids", {}),
        ("topic_trip_id", {"topic": f"trip:{uuid4()}"}),
    ],
)
def test_helper_asked_by_anon_is_refused(
    function: str, arguments: dict[str, str], anon: httpx.Client
) -> None:
    response = anon.post(f"rpc/{function}", json=arguments)

    assert (response.status_code, response.json()["code"]) == (401, "42501")
