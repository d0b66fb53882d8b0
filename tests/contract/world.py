"""The data of the policy tests: a trip with members, a caller, and rows of each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

import httpx

Row = Mapping[str, object]
Action = Literal["select", "insert", "update", "delete"]

ACTIONS: tuple[Action, ...] = ("select", "insert", "update", "delete")
CALLERS = ("anon", "stranger", "other trip's", "inactive", "active", "service_role")

TABLES = {
    "account": "users",
    "trip": "trips",
    "membership": "trip_memberships",
    "message": "chat_messages",
    "reaction": "chat_reactions",
    "receipt": "chat_read_receipts",
    "presence": "user_presence",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a cell of the table.

    Attributes:
        table: where.
        row: the row to select, update and delete; rows of non-members do not exist.
        key: the columns that identify it.
        change: the values of an update.
        new_row: the row of an insert; it violates no constraint.
    """

    table: str
    row: Row
    key: tuple[str, ...]
    change: Row
    new_row: Row


class World:
    """A trip with a fellow member, one caller, and rows of each kind; ids are fresh.

    Members of the trip also belong to the second trip, without a receipt and a presence there.
    """

    def __init__(self, service_role: httpx.Client, caller: str) -> None:
        self._service_role = service_role
        self.caller_id, self.fellow_id, self.trip_id = uuid4(), uuid4(), uuid4()
        self.new_user_id = uuid4()
        self.other_trip_id, self.empty_trip_id, self.second_trip_id = uuid4(), uuid4(), uuid4()
        users = (self.caller_id, self.fellow_id)
        trips = (self.trip_id, self.other_trip_id, self.empty_trip_id, self.second_trip_id)
        self._create("users", *map(self.account, users))
        self._create("trips", *map(self.trip, trips))
        self._create("trip_memberships", *self._list_memberships(caller))
        self.message_ids = {user_id: uuid4() for user_id in users}
        self._create("chat_messages", *(self.message(m, u) for u, m in self.message_ids.items()))
        self.reaction_ids = {user_id: uuid4() for user_id in users}
        self._create("chat_reactions", *(self.reaction(r, u) for u, r in self.reaction_ids.items()))
        members = users if caller not in ("stranger", "other trip's") else (self.fellow_id,)
        self._create("chat_read_receipts", *(self.receipt(self.trip_id, u) for u in members))
        self._create("user_presence", *(self.presence(self.trip_id, u) for u in members))

    def _list_memberships(self, caller: str) -> list[Row]:
        both = (self.trip_id, self.second_trip_id)
        fellow = [self.membership(trip_id, self.fellow_id) for trip_id in both]
        match caller:
            case "other trip's":
                return [*fellow, self.membership(self.other_trip_id, self.caller_id)]
            case "inactive":
                own = [self.membership(t, self.caller_id, status="INACTIVE") for t in both]
                return fellow + own
            case "active" | "anon" | "service_role":
                return fellow + [self.membership(t, self.caller_id) for t in both]
            case "stranger":
                return fellow
            case _:
                raise AssertionError(caller)

    def _create(self, table: str, *rows: Row) -> None:
        response = self._service_role.post(table, json=rows)
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

    def reaction(self, reaction_id: UUID, user_id: UUID, emoji: str = "👍") -> Row:
        return {
            "id": str(reaction_id),
            "message_id": str(self.message_ids[self.fellow_id]),
            "trip_id": str(self.trip_id),
            "user_id": str(user_id),
            "emoji": emoji,
        }

    def receipt(self, trip_id: UUID, user_id: UUID) -> Row:
        return {"trip_id": str(trip_id), "user_id": str(user_id), "message_id": None}

    def presence(self, trip_id: UUID, user_id: UUID) -> Row:
        return {
            "trip_id": str(trip_id),
            "user_id": str(user_id),
            "status": "online",
            "is_typing": False,
        }

    def find_target(self, name: str) -> Target:
        """Return the target of a line of the table."""
        whose, _, kind = name.rpartition(" ")
        user_id = self.fellow_id if whose == "fellow's" else self.caller_id
        match kind:
            case "account":
                return Target(
                    table=TABLES[kind],
                    row=self.account(user_id),
                    key=("id",),
                    change={"username": "Eve"},
                    new_row=self.account(self.new_user_id),
                )
            case "trip":
                return Target(
                    table=TABLES[kind],
                    row=self.trip(self.trip_id),
                    key=("id",),
                    change={"name": "Paris"},
                    new_row=self.trip(uuid4()),
                )
            case "membership":
                return Target(
                    table=TABLES[kind],
                    row=self.membership(self.trip_id, user_id),
                    key=("trip_id", "user_id"),
                    change={"role": "OWNER", "status": "ACTIVE"},
                    new_row=self.membership(self.empty_trip_id, user_id),
                )
            case "message":
                return Target(
                    table=TABLES[kind],
                    row=self.message(self.message_ids[user_id], user_id),
                    key=("id",),
                    change={"body": "goodbye"},
                    new_row=self.message(uuid4(), user_id),
                )
            case "reaction":
                return Target(
                    table=TABLES[kind],
                    row=self.reaction(self.reaction_ids[user_id], user_id),
                    key=("id",),
                    change={"emoji": "👎"},
                    new_row=self.reaction(uuid4(), user_id, "🎉"),
                )
            case "receipt":
                return Target(
                    table=TABLES[kind],
                    row=self.receipt(self.trip_id, user_id),
                    key=("trip_id", "user_id"),
                    change={"message_id": str(self.message_ids[self.fellow_id])},
                    new_row=self.receipt(self.second_trip_id, user_id),
                )
            case "presence":
                return Target(
                    table=TABLES[kind],
                    row=self.presence(self.trip_id, user_id),
                    key=("trip_id", "user_id"),
                    change={"status": "away", "is_typing": True},
                    new_row=self.presence(self.second_trip_id, user_id),
                )
            case _:
                raise AssertionError(name)

    def read(self, table: str, key: Mapping[str, str]) -> list[dict[str, object]]:
        """Read as service_role what is really there."""
        response = self._service_role.get(table, params=dict(key))
        assert response.status_code == 200, response.text
        rows: list[dict[str, object]] = response.json()
        return rows

    def clean_up(self) -> None:
        """Remove every row that the world or a test of it made; they all hang from these."""
        users = (self.caller_id, self.fellow_id, self.new_user_id)
        for table, key in (
            ("trips", {"created_by": f"eq.{self.fellow_id}"}),
            ("users", {"id": f"in.({','.join(map(str, users))})"}),
        ):
            self._service_role.delete(table, params=key).raise_for_status()


WorldMaker = Callable[[str], World]


def filter_by(target: Target, row: Row) -> dict[str, str]:
    """Give the query that finds a row."""
    return {column: f"eq.{row[column]}" for column in target.key}


def keep_columns(row: Row, of: Row) -> Row:
    """Leave out what the database added: ids and times."""
    return {column: row[column] for column in of}


def attempt(client: httpx.Client, action: Action, target: Target) -> httpx.Response:
    """Try a cell of the table."""
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
