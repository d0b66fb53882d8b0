"""A trip with its owner and a user who is no member yet; only signed webhooks change who is."""

from uuid import UUID, uuid4

from tests.e2e.conftest import RelayProcess
from tests.frontend.app import Answer, App, Person

ONE_A_MEMBER = "trip_id,user_id"


class Trip:
    """A trip whose owner, Ana, has written, reacted, read and is present; Bo is no member."""

    def __init__(self, relay: RelayProcess, app: App) -> None:
        self._relay = relay
        self.id = uuid4()
        self.ana, self.bo = app.sign_up(), app.sign_up()
        for person, name in ((self.ana, "ana"), (self.bo, "bo")):
            self.tell("user.created", id=person.id, email=person.email, username=name)
        self.tell("trip.created", id=self.id, name="Lisbon", created_by=self.ana.id)
        self.add_member(self.ana, role="OWNER")
        self.message_id = UUID(self.write(self.ana, "Tram 28 at nine?").data[0]["id"])
        for answer in self.join_in(self.ana):
            assert answer.status == 201, answer

    def tell(self, event_type: str, **data: object) -> None:
        """Send an event and wait until Supabase holds it."""
        answer = self._relay.post(event_type, {key: str(value) for key, value in data.items()})
        assert (answer.status_code, answer.json()["status"]) == (200, "applied"), answer.text

    def add_member(self, person: Person, *, role: str = "MEMBER", status: str = "ACTIVE") -> None:
        self.tell(
            "membership.created", trip_id=self.id, user_id=person.id, role=role, status=status
        )

    def write(self, person: Person, body: str) -> Answer:
        return person.insert("chat_messages", trip_id=self.id, user_id=person.id, body=body)

    def join_in(self, person: Person) -> list[Answer]:
        """React, mark as read and set presence, as the app's screen does when it opens."""
        own = {"trip_id": self.id, "user_id": person.id}
        return [
            person.insert("chat_reactions", **own, message_id=self.message_id, emoji="👍"),
            person.upsert("chat_read_receipts", ONE_A_MEMBER, **own, message_id=self.message_id),
            person.upsert("user_presence", ONE_A_MEMBER, **own, status="online", is_typing=True),
        ]

    def open_screen(self, person: Person) -> dict[str, list[object]]:
        """Read what the chat's screen shows, by the app's own queries."""
        answers = {
            "messages": person.select(
                "chat_messages",
                "body, user_id, trips(name), chat_reactions(emoji, user_id)",
                order="created_at",
                trip_id=self.id,
            ),
            "reactions": person.select("chat_reactions", "emoji", trip_id=self.id),
            "receipts": person.select("chat_read_receipts", "message_id", trip_id=self.id),
            "presence": person.select("user_presence", "status, is_typing", trip_id=self.id),
            "members": person.select(
                "trip_memberships",
                "user_id, role, users(username)",
                order="role",
                trip_id=self.id,
            ),
            "trips": person.select("trips", "name", id=self.id),
        }
        for answer in answers.values():
            assert (answer.status, answer.code) == (200, None), answer
        return {name: answer.data for name, answer in answers.items()}

    def what_ana_left(self) -> dict[str, object]:
        ana = str(self.ana.id)
        reaction = {"emoji": "👍", "user_id": ana}
        return {
            "messages": [
                {
                    "body": "Tram 28 at nine?",
                    "user_id": ana,
                    "trips": {"name": "Lisbon"},
                    "chat_reactions": [reaction],
                }
            ],
            "reactions": [{"emoji": "👍"}],
            "receipts": [{"message_id": str(self.message_id)}],
            "presence": [{"status": "online", "is_typing": True}],
            "trips": [{"name": "Lisbon"}],
        }
