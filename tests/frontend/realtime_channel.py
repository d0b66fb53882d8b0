"""One client's join of one topic, with the answers of the policies that Realtime caches for it.

As in Realtime's published source (`RealtimeWeb.RealtimeChannel`): a private channel asks what it
may read on joining and when the client sends a different token, and what it may write at the first
message or presence after that. In between, a revoked membership changes nothing.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from tests.frontend.phoenix import Message, encode
from tests.frontend.realtime_policies import BROADCAST, PRESENCE, RealtimePolicies

PREFIX: Final = "realtime:"


class ReadRefused(Exception):
    """The policies do not let the caller read the topic; `str(error)` is Realtime's text."""


@dataclass(slots=True, eq=False)
class Channel:
    """A joined topic.

    Attributes:
        topic: without the prefix of the protocol.
        join_ref: names this join; messages for an older one are dropped.
        token: the latest that the client sent.
        has_presence: the client wants to know who is present.
        has_acknowledgements: the client wants a reply to each of its broadcasts.
        has_echo: the client's broadcasts come back to it.
        may_read: the cached answers; empty on a public channel.
        may_write: the cached answers; None until the first message.
        presence: what the client has shared about itself; None: nothing.
    """

    send_frame: Callable[[str | bytes], None]
    topic: str
    join_ref: str
    is_private: bool
    token: str
    claims: Mapping[str, Any]
    presence_key: str
    has_presence: bool
    has_acknowledgements: bool
    has_echo: bool
    may_read: dict[str, bool] = field(default_factory=dict)
    may_write: dict[str, bool] | None = None
    presence: dict[str, Any] | None = None

    @classmethod
    def from_join(
        cls,
        message: Message,
        send_frame: Callable[[str | bytes], None],
        token: str,
        claims: Mapping[str, Any],
    ) -> "Channel":
        """Read the configuration that a join carries."""
        config = message.payload.get("config", {})
        presence, broadcast = config.get("presence", {}), config.get("broadcast", {})
        return cls(
            send_frame=send_frame,
            topic=message.topic.removeprefix(PREFIX),
            join_ref=message.join_ref or "",
            is_private=bool(config.get("private")),
            token=token,
            claims=claims,
            presence_key=presence.get("key") or str(uuid.uuid4()),
            has_presence=bool(presence.get("enabled")),
            has_acknowledgements=bool(broadcast.get("ack")),
            has_echo=bool(broadcast.get("self")),
        )

    def authorize(self, policies: RealtimePolicies) -> None:
        """Ask what the caller may read, and forget the other answers.

        Raises:
            ReadRefused: nothing, or less than before.
        """
        self.may_write = None
        if not self.is_private:
            return
        before = self.may_read
        extensions = (BROADCAST, PRESENCE) if self.has_presence else (BROADCAST,)
        try:
            self.may_read = policies.ask_read(self.topic, self.claims, extensions)
        except psycopg.Error:
            self.may_read = {}
        if not any(self.may_read.values()):
            raise ReadRefused(
                f"You do not have permissions to read from this Channel topic: {self.topic}"
            )
        if any(before.get(each) and not self.may_read.get(each) for each in before):
            raise ReadRefused(
                f"You no longer have permission to read from this Channel topic: {self.topic}"
            )

    def can_hear(self, extension: str) -> bool:
        """Say whether messages reach the client, by the cached answers."""
        return self.may_read.get(extension, False) if self.is_private else True

    def can_send(self, extension: str, policies: RealtimePolicies) -> bool:
        """Say whether the client's messages are passed on, by the cached answers if any."""
        if not self.is_private:
            return True
        if self.may_write is None:
            try:
                self.may_write = policies.ask_write(self.topic, self.claims, (BROADCAST, PRESENCE))
            except psycopg.Error:
                return False
        return self.may_write[extension]

    def send(self, event: str, payload: dict[str, Any]) -> None:
        """Send a message of the server."""
        self.send_frame(encode(Message(PREFIX + self.topic, event, payload, self.join_ref)))

    def send_system(self, status: str, text: str) -> None:
        """Send a `system` message, as a client's `.on("system", …)` receives it."""
        self.send(
            "system",
            {"extension": "system", "status": status, "message": text, "channel": self.topic},
        )

    def close(self) -> None:
        """Tell the client that this join has ended. It does not join again by itself."""
        message = Message(PREFIX + self.topic, "phx_close", {}, self.join_ref, self.join_ref)
        self.send_frame(encode(message))
