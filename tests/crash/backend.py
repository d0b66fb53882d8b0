"""A backend that sends generated changes and remembers which were acknowledged."""

import json
import random
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from typing import Final

from app.cli.client.signing import make_body, sign_body
from app.domain.entities import Kind
from tests.crash.process import CrashingRelay

_THREADS: Final = 4
_TIMEOUT_SECONDS: Final = 60.0
# Few enough that most events of a history change the same entities.
_USERS: Final = 4
_TRIPS: Final = 3
_BEGINNING: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

_ACKNOWLEDGED: Final = (200, 202)
_COME_AGAIN: Final = (429, 503)

# How often each change happens; removals of trips and users are rare, and each moves a lot.
_CHANGES: Final = {
    "membership.created": 30,
    "membership.updated": 25,
    "membership.deleted": 20,
    "trip.updated": 7,
    "user.updated": 6,
    "trip.deleted": 4,
    "trip.created": 4,
    "user.deleted": 2,
    "user.created": 2,
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event as it is sent."""

    event_id: str
    body: bytes


class Backend:
    """Makes changes at rising instants and delivers them in any order.

    Attributes:
        sent: every event that was ever made, by id.
        acknowledged: the ids of events with a successful response.
        surprises: responses that no sender should receive.
    """

    def __init__(self, randomness: random.Random) -> None:
        self.sent: dict[str, Delivery] = {}
        self.acknowledged: set[str] = set()
        self.surprises: list[str] = []
        self._random = randomness
        self._now = _BEGINNING
        self._users = [self._make_id() for _ in range(_USERS)]
        self._trips = [self._make_id() for _ in range(_TRIPS)]

    @property
    def unacknowledged(self) -> list[Delivery]:
        """The events that a sender would repeat."""
        return [event for id_, event in self.sent.items() if id_ not in self.acknowledged]

    def make_parents(self) -> list[Delivery]:
        """Create every user and trip."""
        return [
            *(self.make_event("user.created", self.user_row(user)) for user in self._users),
            *(self.make_event("trip.created", self._trip_row(trip)) for trip in self._trips),
        ]

    def make_parent(self, kind: Kind, key: str) -> Delivery:
        """Create one user or trip."""
        row = self.user_row(key) if kind is Kind.USER else self._trip_row(key)
        return self.make_event(f"{kind}.created", row)

    def make_history(self, count: int) -> list[Delivery]:
        """Make this many changes, slightly out of order, some repeated."""
        changes = self._random.choices(list(_CHANGES), list(_CHANGES.values()), k=count)
        events = [self.make_event(change, self._pick_data(change)) for change in changes]
        arrivals = [(n + self._random.uniform(0, 12), event) for n, event in enumerate(events)]
        arrivals += [
            (n + self._random.uniform(0, 40), event)
            for n, event in enumerate(events)
            if self._random.random() < 0.15
        ]
        return [event for _, event in sorted(arrivals, key=lambda arrival: arrival[0])]

    def make_event(self, event_type: str, data: dict[str, str]) -> Delivery:
        """Make one event that happens now; now and then at the same instant as the one before."""
        if self._random.random() < 0.9:
            self._now += timedelta(milliseconds=self._random.randint(1, 999))
        delivery = Delivery(
            f"evt_{self._make_id()}", make_body(event_type, data, self._now.isoformat())
        )
        self.sent[delivery.event_id] = delivery
        return delivery

    def user_row(self, user: str | None = None, name: str | None = None) -> dict[str, str]:
        """Give the data of a user, by default of a new one."""
        name = name or f"bo-{self._random.randint(0, 9)}"
        return {"id": user or self._make_id(), "email": f"{name}@example.com", "username": name}

    def deliver(self, relay: CrashingRelay, deliveries: Iterable[Delivery]) -> None:
        """Send events at once, each one time; ends early when the relay dies."""
        with self.delivering(relay, deliveries):
            pass

    @contextmanager
    def delivering(self, relay: CrashingRelay, deliveries: Iterable[Delivery]) -> Iterator[None]:
        """Send events while the block runs, and until they are all sent or the relay has died."""
        waiting = deque(deliveries)
        threads = [
            threading.Thread(target=self._deliver, args=(relay, waiting)) for _ in range(_THREADS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join()

    def deliver_together(self, relay: CrashingRelay, deliveries: Sequence[Delivery]) -> None:
        """Send events in one request, so that they are committed and picked together."""
        items = [{"id": event.event_id} | json.loads(event.body) for event in deliveries]
        body = json.dumps({"events": items}).encode()
        headers = sign_body(relay.secret, body)
        connection = HTTPConnection("127.0.0.1", relay.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/webhooks/batch", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            return  # it died before it could respond
        finally:
            connection.close()
        results = [content] * len(deliveries)
        if answer.status in _ACKNOWLEDGED:
            results = [json.dumps(result).encode() for result in json.loads(content)["results"]]
        for delivery, result in zip(deliveries, results, strict=True):
            self._note_answer(delivery, answer.status, result)

    def _deliver(self, relay: CrashingRelay, waiting: deque[Delivery]) -> None:
        connection = HTTPConnection("127.0.0.1", relay.port, timeout=_TIMEOUT_SECONDS)
        try:
            while relay.is_alive:
                try:
                    delivery = waiting.popleft()
                except IndexError:
                    return
                headers = sign_body(relay.secret, delivery.body, event_id=delivery.event_id)
                try:
                    connection.request("POST", "/webhooks", delivery.body, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, HTTPException):
                    connection.close()
                else:
                    self._note_answer(delivery, answer.status, content)
        finally:
            connection.close()

    def _note_answer(self, delivery: Delivery, status: int, content: bytes) -> None:
        is_own = status in _ACKNOWLEDGED and json.loads(content)["event_id"] == delivery.event_id
        if is_own:
            self.acknowledged.add(delivery.event_id)
        elif status not in _COME_AGAIN:
            self.surprises.append(f"{delivery}: {status} {content!r}")

    def _pick_data(self, change: str) -> dict[str, str]:
        kind, _, action = change.partition(".")
        user, trip = self._random.choice(self._users), self._random.choice(self._trips)
        match kind:
            case "user":
                return {"id": user} if action == "deleted" else self.user_row(user)
            case "trip":
                return {"id": trip} if action == "deleted" else self._trip_row(trip)
            case _:
                return self.membership_row(trip, user, removed=action == "deleted")

    def membership_row(self, trip: str, user: str, *, removed: bool = False) -> dict[str, str]:
        """Give the data of a membership, of any role and mostly active."""
        key = {"trip_id": trip, "user_id": user}
        if removed:
            return key
        return key | {
            "role": self._random.choice(("MEMBER", "ADMIN")),
            "status": self._random.choice(("ACTIVE", "ACTIVE", "INACTIVE")),
        }

    def _trip_row(self, trip: str) -> dict[str, str]:
        name = self._random.choice(("Lisbon", "Porto"))
        return {"id": trip, "name": name, "created_by": self._users[0]}

    def _make_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
