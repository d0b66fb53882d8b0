"""Who may do what with each table, tried cell by cell against a real Supabase."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

import httpx
import pytest

Row = Mapping[str, str]
Action = Literal["select", "insert", "update", "delete"]

ACTIONS: tuple[Action, ...] = ("select", "insert", "update", "delete")
CALLERS = ("anon", "stranger", "other trip's", "inactive", "active", "service_role")

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
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What a cell of the table is about.

    Attributes:
        table: where.
        row: the row to select, update and delete; the membership of a non-member does not exist.
        key: the columns that identify it.
        change: what an update tries to set.
        new_row: what an insert tries; nothing but permission stands in its way.
    """

    table: str
    row: Row
    key: tuple[str, ...]
    change: Row
    new_row: Row


class World:
    """A trip with a fellow member, one caller, and rows of each kind; ids are fresh."""

    def __init__(self, service_role: httpx.Client, caller: str) -> None:
        self._service_role = service_role
        self.caller_id, self.fellow_id, self.trip_id = uuid4(), uuid4(), uuid4()
        self.other_trip_id, self.empty_trip_id = uuid4(), uuid4()
        for user_id in (self.caller_id, self.fellow_id):
            self._create("users", self.account(user_id))
        for trip_id in (self.trip_id, self.other_trip_id, self.empty_trip_id):
            self._create("trips", self.trip(trip_id))
        self._create("trip_memberships", self.membership(self.trip_id, self.fellow_id))
        match caller:
            case "other trip's":
                self._create(
                    "trip_memberships", self.membership(self.other_trip_id, self.caller_id)
                )
            case "inactive":
                self._create(
                    "trip_memberships",
                    self.membership(self.trip_id, self.caller_id, status="INACTIVE"),
                )
            case "active" | "anon" | "service_role":
                self._create("trip_memberships", self.membership(self.trip_id, self.caller_id))
            case "stranger":
                pass
            case _:
                raise AssertionError(caller)
        self.message_ids = {self.caller_id: uuid4(), self.fellow_id: uuid4()}
        for user_id, message_id in self.message_ids.items():
            self._create("chat_messages", self.message(message_id, user_id))

    def _create(self, table: str, row: Row) -> None:
        response = self._service_role.post(table, json=row)
        assert response.status_code == 201, response.text

    def account(self, user_id: UUID) -> Row:
        return {"id": str(user_id), "email": f"{user_id}@example.com", "username": "Ada"}

    def trip(self, trip_id: UUID) -> Row:
        return {"id": str(trip_id), "name": "Rome", "created_by": str(self.fellow_id)}

    def membership(self, trip_id: UUID, user_id: UUID, status: str = "ACTIVE") -> Row:
        return {
            "trip_id": str(trip_id),
            "user_id": str(user_id),
            "role": "MEMBER",
            "status": status,
        }

    def message(self, message_id: UUID, user_id: UUID) -> Row:
        return {
            "id": str(message_id),
            "trip_id": str(self.trip_id),
            "user_id": str(user_id),
            "body": "hello",
        }

    def find_target(self, name: str) -> Target:
        """Give what a line of the table is about."""
        whose, _, kind = name.rpartition(" ")
        user_id = self.fellow_id if whose == "fellow's" else self.caller_id
        match kind:
            case "account":
                return Target(
                    table="users",
                    row=self.account(user_id),
                    key=("id",),
                    change={"username": "Eve"},
                    new_row=self.account(uuid4()),
                )
            case "trip":
                return Target(
                    table="trips",
                    row=self.trip(self.trip_id),
                    key=("id",),
                    change={"name": "Paris"},
                    new_row=self.trip(uuid4()),
                )
            case "membership":
                return Target(
                    table="trip_memberships",
                    row=self.membership(self.trip_id, user_id),
                    key=("trip_id", "user_id"),
                    change={"role": "OWNER", "status": "ACTIVE"},
                    new_row=self.membership(self.empty_trip_id, user_id),
                )
            case "message":
                return Target(
                    table="chat_messages",
                    row=self.message(self.message_ids[user_id], user_id),
                    key=("id",),
                    change={"body": "goodbye"},
                    new_row=self.message(uuid4(), user_id),
                )
            case _:
                raise AssertionError(name)

    def read(self, table: str, key: Row) -> list[dict[str, str]]:
        """Read as service_role what is really there."""
        response = self._service_role.get(table, params=key)
        assert response.status_code == 200, response.text
        rows: list[dict[str, str]] = response.json()
        return rows


def filter_by(target: Target, row: Row) -> Row:
    return {column: f"eq.{row[column]}" for column in target.key}


def attempt(client: httpx.Client, action: Action, target: Target) -> httpx.Response:
    key = filter_by(target, target.row)
    shown = {"Prefer": "return=representation"}
    match action:
        case "select":
            return client.get(target.table, params=key)
        case "insert":
            return client.post(target.table, json=target.new_row)
        case "update":
            return client.patch(target.table, params=key, json=target.change, headers=shown)
        case "delete":
            return client.delete(target.table, params=key, headers=shown)


def list_cells() -> list[tuple[str, str, Action, str]]:
    return [
        (name, caller, action, outcome)
        for name, line in EXPECTED.items()
        for caller, cell in zip(CALLERS, line.split(), strict=True)
        for action, outcome in zip(ACTIONS, cell, strict=True)
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


@pytest.mark.parametrize(("name", "caller", "action", "outcome"), list_cells())
def test_row_tried_by_caller_ends_as_the_table_says(
    name: str,
    caller: str,
    action: Action,
    outcome: str,
    service_role: httpx.Client,
    open_caller: Callable[[str, UUID], httpx.Client],
) -> None:
    world = World(service_role, caller)
    target = world.find_target(name)
    key, new_key = filter_by(target, target.row), filter_by(target, target.new_row)
    before = world.read(target.table, key)

    response = attempt(open_caller(caller, world.caller_id), action, target)

    after, inserted = world.read(target.table, key), world.read(target.table, new_key)
    match outcome:
        case "y" if action == "insert":
            assert response.status_code == 201, response.text
            assert [target.new_row] == [{k: row[k] for k in target.new_row} for row in inserted]
        case "y":
            assert response.status_code == 200, response.text
            assert len(before) == len(response.json()) == 1
            left = {"select": before, "update": [{**before[0], **target.change}], "delete": []}
            assert after == left[action]
        case "x":
            assert response.status_code == (401 if caller == "anon" else 403), response.text
            assert response.json()["code"] == "42501"
            assert (after, inserted) == (before, [])
        case ".":
            assert response.status_code == 200, response.text
            assert response.json() == []
            assert (after, inserted) == (before, [])
        case _:
            raise AssertionError(outcome)


@pytest.mark.parametrize(
    ("caller", "is_member"),
    [("active", True), ("inactive", False), ("other trip's", False), ("stranger", False)],
)
def test_is_trip_member_asked_by_user_is_true_for_active_members_only(
    caller: str,
    is_member: bool,
    service_role: httpx.Client,
    as_user: Callable[[UUID], httpx.Client],
) -> None:
    world = World(service_role, caller)

    response = as_user(world.caller_id).post(
        "rpc/is_trip_member", json={"trip_id": str(world.trip_id)}
    )

    assert response.status_code == 200, response.text
    assert response.json() is is_member


def test_is_trip_member_asked_by_anon_is_refused(anon: httpx.Client) -> None:
    response = anon.post("rpc/is_trip_member", json={"trip_id": str(uuid4())})

    assert (response.status_code, response.json()["code"]) == (401, "42501")


@pytest.mark.parametrize("how", ["deleted", "inactive"])
def test_member_whose_access_is_taken_away_reads_nothing_more(
    how: str, service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> None:
    world = World(service_role, "active")
    member = as_user(world.caller_id)
    messages = {"trip_id": f"eq.{world.trip_id}"}
    assert len(member.get("chat_messages", params=messages).json()) == 2

    key = {"trip_id": f"eq.{world.trip_id}", "user_id": f"eq.{world.caller_id}"}
    if how == "deleted":
        service_role.delete("trip_memberships", params=key).raise_for_status()
    else:
        service_role.patch(
            "trip_memberships", params=key, json={"status": "INACTIVE"}
        ).raise_for_status()

    assert member.get("chat_messages", params=messages).json() == []
    assert member.get("trips", params={"id": f"eq.{world.trip_id}"}).json() == []


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_former_member_writing_without_a_filter_changes_nothing(
    method: str, service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> None:
    # Without a filter and without rows to return Postgres does not ask the policy for select.
    world = World(service_role, "inactive")
    key = {"trip_id": f"eq.{world.trip_id}", "order": "id"}
    before = world.read("chat_messages", key)

    as_user(world.caller_id).request(
        method,
        "chat_messages",
        json={"body": "goodbye"} if method == "PATCH" else None,
        headers={"Prefer": "return=minimal"},
    )

    assert len(before) == 2
    assert world.read("chat_messages", key) == before


@pytest.mark.parametrize("column", ["trip_id", "user_id", "created_at", "id"])
def test_author_editing_more_than_the_body_is_refused(
    column: str, service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> None:
    world = World(service_role, "active")
    key = {"id": f"eq.{world.message_ids[world.caller_id]}"}
    before = world.read("chat_messages", key)
    value = "2000-01-01T00:00:00Z" if column == "created_at" else str(world.fellow_id)

    response = as_user(world.caller_id).patch("chat_messages", params=key, json={column: value})

    assert (response.status_code, response.json()["code"]) == (403, "42501")
    assert world.read("chat_messages", key) == before


def test_member_setting_created_at_of_a_new_message_is_refused(
    service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> None:
    world = World(service_role, "active")
    message = {**world.message(uuid4(), world.caller_id), "created_at": "2000-01-01T00:00:00Z"}

    response = as_user(world.caller_id).post("chat_messages", json=message)

    assert (response.status_code, response.json()["code"]) == (403, "42501")


def test_trip_deleted_takes_memberships_and_messages_with_it(service_role: httpx.Client) -> None:
    world = World(service_role, "active")

    service_role.delete("trips", params={"id": f"eq.{world.trip_id}"}).raise_for_status()

    assert world.read("trip_memberships", {"trip_id": f"eq.{world.trip_id}"}) == []
    assert world.read("chat_messages", {"trip_id": f"eq.{world.trip_id}"}) == []


def test_user_deleted_keeps_his_trips_and_messages(service_role: httpx.Client) -> None:
    world = World(service_role, "active")

    service_role.delete("users", params={"id": f"eq.{world.fellow_id}"}).raise_for_status()

    assert len(world.read("trips", {"created_by": f"eq.{world.fellow_id}"})) == 3
    assert len(world.read("chat_messages", {"user_id": f"eq.{world.fellow_id}"})) == 1
    assert world.read("trip_memberships", {"user_id": f"eq.{world.fellow_id}"}) == []
