"""A user of the app whose client listens to Realtime."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.frontend.app import Answer, Person, ask

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """What a person's client does, and a log of what it was told.

    The log's entries have a `kind`: status, trips, messages, update, refetch, revoked and screen of
    the example; status, system, broadcast and presence of a channel.
    """

    person: Person

    @property
    def topic(self) -> str:
        return f"user:{self.person.id}"

    def start_updates(self) -> Entry:
        """Start the example; return the status of its first join."""
        self._do("start", userId=str(self.person.id))
        return self.wait_for(kind="status")[-1]

    def stop_updates(self) -> None:
        self._do("stop")

    def reopen(self) -> None:
        """Open the app again: a new client that finds the session in the phone's storage."""
        self._do("reopen")

    def refetch(self) -> None:
        self._do("refetch")

    def hold_reads(self) -> None:
        """Keep the last page of every read of messages back; it is logged as `held`."""
        self._do("hold")

    def release_reads(self) -> None:
        self._do("release")

    def follow(self, trip_id: UUID) -> None:
        """Open a trip in the example."""
        self._do("follow", tripId=str(trip_id))

    def join(self, topic: str, *, private: bool = True) -> Entry:
        """Join a channel; return how that ended."""
        self._do("join", topic=topic, isPrivate=private)
        return self.wait_for(kind="status", topic=topic)[-1]

    def send(self, topic: str, event: str, payload: Entry) -> str:
        """Broadcast, and wait a second for the acknowledgement."""
        return str(self._do("send", topic=topic, event=event, payload=payload).data)

    def track(self, topic: str, payload: Entry) -> str:
        return str(self._do("track", topic=topic, payload=payload).data)

    def renew_token(self) -> None:
        assert self._do("renewToken").code is None

    def listen(self) -> None:
        """Run the guide's lines that join the personal topic."""
        self._do("listen", userId=str(self.person.id))

    def signal(self, trip_id: UUID) -> None:
        """Run the guide's lines that send a signal."""
        assert self._do("signal", tripId=str(trip_id)).code is None

    def diagnose(self, trip_id: UUID) -> list[list[Any]]:
        """Run the guide's questions; return what they log."""
        lines: list[list[Any]] = self._do("diagnose", tripId=str(trip_id)).data
        return lines

    def open_screen(self, trip_id: UUID) -> None:
        """Render a component of React that uses the example's hook."""
        self._do("openScreen", tripId=str(trip_id))

    def close_screen(self) -> None:
        self._do("closeScreen")

    def come_to_foreground(self) -> None:
        self._do("foreground")

    def wait_for(self, **entry: object) -> list[Entry]:
        """Wait for an entry with these values; return all since the last wait, up to it."""
        wanted = {
            key: str(value) if isinstance(value, UUID) else value for key, value in entry.items()
        }
        entries: list[Entry] = self._do("await", wanted=wanted).data
        return entries

    def _do(self, command: str, **rest: object) -> Answer:
        return ask(self.person.driver, self.person.name, command, **rest)
