"""A member of a trip who listens to it by the example of docs/snippets/typescript."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import psycopg

from tests.frontend.listener import Listener
from tests.frontend.stack import RealtimeStack
from tests.frontend.trip import Trip

FIRST: Final = "Tram 28 at nine?"


@dataclass(frozen=True, slots=True)
class Scene:
    """Bo is a member of Ana's trip, and listens by the example."""

    trip: Trip
    bo: Listener
    stack: RealtimeStack

    def listen_without_example(self) -> Listener:
        """Join Bo's topic with another client, which hides nothing."""
        listener = Listener(self.bo.person.sign_in_elsewhere())
        assert listener.join(listener.topic)["status"] == "SUBSCRIBED"
        return listener

    def hear_until_now(self, listener: Listener) -> list[str]:
        """Return the events that Bo's client received about the trip since the last wait.

        A topic is in order, so a message of another trip shows that all before it has arrived.
        """
        other_id = uuid4()
        self.run(
            "insert into trips (id, name, created_by) values (%s, 'Porto', %s)",
            *(other_id, self.trip.ana.id),
        )
        self.run(
            "insert into trip_memberships (trip_id, user_id, role, status)"
            " values (%s, %s, 'MEMBER', 'ACTIVE')",
            *(other_id, self.bo.person.id),
        )
        self.write_many(other_id, "marker", 1)
        entries = listener.wait_for(event="message.created", payload={"trip_id": str(other_id)})
        return [
            each["event"]
            for each in entries
            if each["kind"] == "broadcast" and each["payload"]["trip_id"] == str(self.trip.id)
        ]

    def write_many(self, trip_id: UUID, body: str, count: int) -> None:
        """Write messages by one statement, numbered from 1."""
        self.run(
            "insert into chat_messages (trip_id, user_id, body)"
            " select %s, %s, %s || n from generate_series(1, %s) as n",
            *(trip_id, self.trip.ana.id, body, count),
        )

    def run(self, sql: str, *parameters: object) -> None:
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            connection.execute(sql.encode(), parameters)

    def await_bodies(self, *bodies: str) -> None:
        """Wait until the example shows these messages of the trip."""
        self.bo.wait_for(kind="messages", tripId=self.trip.id, bodies=list(bodies))


@contextmanager
def open_scene(stack: RealtimeStack) -> Iterator[Scene]:
    """Make Bo a member who listens, until the block ends."""
    trip = Trip(stack.relay, stack.app)
    trip.add_member(trip.bo)
    bo = Listener(trip.bo)
    assert bo.start_updates()["status"] == "SUBSCRIBED"
    bo.follow(trip.id)
    assert bo.wait_for(kind="refetch", tripId=trip.id)[-2]["bodies"] == [FIRST]
    yield Scene(trip, bo, stack)
    bo.stop_updates()
