"""Two instances of the policy pack: our example tables, and those of a backend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from tests.contract.database import Database

Row = Mapping[str, object]
CALLERS: Final = (
    "anon",
    "stranger",
    "other trip's",
    "inactive",
    "removed",
    "user deleted",
    "trip deleted",
    "active",
)


@dataclass(frozen=True, slots=True)
class Instance:
    """The names and columns of one project's tables.

    Attributes:
        tables: the table of each kind of row.
        body, reaction, read, last_seen: names of columns.
        account: the columns of a user that must be given, with %s for the id.
        trip: the values of the columns of a trip that must be given.
        locations: whether it has them.
    """

    name: str
    tables: Mapping[str, str]
    body: str
    reaction: str
    read: str
    last_seen: str
    extra_account: tuple[str, ...] = ()
    extra_trip: Row | None = None
    reaction_has_trip: bool = True

    def account(self, user_id: UUID) -> Row:
        row = {"id": user_id, "email": f"{user_id}@example.com", "username": f"ada-{user_id}"}
        return row | dict.fromkeys(self.extra_account, user_id)

    def trip(self, trip_id: UUID, owner_id: UUID) -> Row:
        row = {"id": trip_id, "name": "Rome", "created_by": owner_id}
        return row | dict(self.extra_trip or {})

    def membership(self, trip_id: UUID, user_id: UUID) -> Row:
        return {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}

    def message(self, trip_id: UUID, user_id: UUID, message_id: UUID) -> Row:
        return {"id": message_id, "trip_id": trip_id, "user_id": user_id, self.body: "hello"}

    def reacting(self, trip_id: UUID, user_id: UUID, message_id: UUID) -> Row:
        row = {"message_id": message_id, "user_id": user_id, self.reaction: "👍"}
        return row | ({"trip_id": trip_id} if self.reaction_has_trip else {})

    def receipt(self, trip_id: UUID, user_id: UUID, message_id: UUID) -> Row:
        return {"trip_id": trip_id, "user_id": user_id, self.read: message_id}

    def presence(self, trip_id: UUID, user_id: UUID) -> Row:
        return {"trip_id": trip_id, "user_id": user_id, "status": "online", "is_typing": False}

    def location(self, trip_id: UUID, user_id: UUID, **values: object) -> Row:
        row = {
            "trip_id": trip_id,
            "user_id": user_id,
            "latitude": 41.9,
            "longitude": 12.5,
            "timestamp": "2026-05-01T12:00:00Z",
            "is_sharing_enabled": True,
        }
        return row | values


OURS: Final = Instance(
    name="ours",
    tables={
        "account": "users",
        "trip": "trips",
        "membership": "trip_memberships",
        "message": "chat_messages",
        "reaction": "chat_reactions",
        "receipt": "chat_read_receipts",
        "presence": "user_presence",
    },
    body="body",
    reaction="emoji",
    read="message_id",
    last_seen="last_seen_at",
)
PUBLISHED: Final = Instance(
    name="published",
    tables={
        "account": "users",
        "trip": "trips",
        "membership": "trip_memberships",
        "message": "supabase_chat_messages",
        "reaction": "supabase_chat_reactions",
        "receipt": "supabase_chat_read_receipts",
        "presence": "supabase_user_presence",
        "location": "locations",
    },
    body="message",
    reaction="reaction",
    read="last_read_message_id",
    last_seen="last_seen",
    extra_account=("supabase_id",),
    extra_trip={
        "start_date": "2026-05-01",
        "end_date": "2026-05-08",
        "destination_latitude": 41.9,
        "destination_longitude": 12.5,
    },
    reaction_has_trip=False,
)
INSTANCES: Final = (OURS, PUBLISHED)


class Trip:
    """A trip of one instance with a fellow and the caller as ACTIVE members, and their rows."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self.database, self.instance = database, instance
        self.id, self.other_id = uuid4(), uuid4()
        self.caller_id, self.fellow_id = uuid4(), uuid4()
        self.message_ids = {self.caller_id: uuid4(), self.fellow_id: uuid4()}
        for user_id in self.message_ids:
            self.insert("account", instance.account(user_id))
        for trip_id in (self.id, self.other_id):
            self.insert("trip", instance.trip(trip_id, self.fellow_id))
        for user_id in self.message_ids:
            self.insert("membership", instance.membership(self.id, user_id))
        for user_id, message_id in self.message_ids.items():
            self.insert("message", instance.message(self.id, user_id, message_id))
        for user_id in self.message_ids:
            for kind in ("reaction", "receipt", "presence", "location"):
                if kind in instance.tables:
                    self.insert(kind, self.make_row(kind, user_id))
        self.forget()

    def make_row(self, kind: str, user_id: UUID) -> Row:
        """Make a row of a member, about the fellow's message where it is about one."""
        first = self.message_ids[self.fellow_id]
        match kind:
            case "account":
                return self.instance.account(user_id)
            case "trip":
                return self.instance.trip(self.id, self.fellow_id)
            case "membership":
                return self.instance.membership(self.id, user_id)
            case "message":
                return self.instance.message(self.id, user_id, self.message_ids[user_id])
            case "reaction":
                return self.instance.reacting(self.id, user_id, first)
            case "receipt":
                return self.instance.receipt(self.id, user_id, first)
            case "presence":
                return self.instance.presence(self.id, user_id)
            case "location":
                return self.instance.location(self.id, user_id)
            case _:
                raise AssertionError(kind)

    def insert(self, kind: str, row: Row) -> None:
        """Insert a row as the present role."""
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        columns = ", ".join(f'"{name}"' for name in row)
        table = self.instance.tables[kind]
        self.database.run(
            f"insert into public.{table} ({columns}) values ({places})",  # noqa: S608 - ours
            *row.values(),
        )

    def become(self, caller: str) -> tuple[str, UUID]:
        """Take from the caller what the word says; return the role and the user."""
        caller_id = self.caller_id
        mine = "where user_id = $1"
        match caller:
            case "anon" | "active":
                pass
            case "stranger" | "removed":
                self.database.run(f"delete from trip_memberships {mine}", caller_id)  # noqa: S608
            case "other trip's":
                self.database.run(f"delete from trip_memberships {mine}", caller_id)  # noqa: S608
                self.insert("membership", self.instance.membership(self.other_id, caller_id))
            case "inactive":
                self.database.run(
                    f"update trip_memberships set status = 'INACTIVE' {mine}",  # noqa: S608
                    caller_id,
                )
            case "user deleted":
                self.database.run("delete from users where id = $1", caller_id)
            case "trip deleted":
                self.database.run("delete from trips where id = $1", self.id)
            case _:
                raise AssertionError(caller)
        return ("anon" if caller == "anon" else "authenticated"), caller_id

    def forget(self) -> None:
        """Forget what Realtime was told."""
        self.database.run("delete from realtime.messages")

    def read_sent(self) -> list[tuple[str, UUID]]:
        """Return each event that was sent since, with the user it was sent to, in order."""
        return [(message.event, message.user_id) for message in self.read_messages()]

    def read_messages(self) -> list["Message"]:
        """Return the messages that were sent since, in order."""
        rows = self.database.run(
            "select event, topic, payload, private, extension from realtime.messages order by ctid"
        )
        self.forget()
        messages = []
        for row in rows:
            assert row["private"], row
            assert row["extension"] == "broadcast", row
            name, _, user_id = row["topic"].partition(":")
            assert name == "user", row
            messages.append(Message(row["event"], UUID(user_id), row["payload"]))
        return messages


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a personal topic."""

    event: str
    user_id: UUID
    payload: dict[str, Any]
