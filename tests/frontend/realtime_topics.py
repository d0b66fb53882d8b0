"""The topics that clients have joined: who hears which message."""

import itertools
from typing import Any

from websockets.sync.server import ServerConnection

from tests.frontend.phoenix import encode_broadcast
from tests.frontend.realtime_channel import PREFIX, Channel
from tests.frontend.realtime_policies import BROADCAST, PRESENCE

Join = tuple[ServerConnection, str]
"""A connection and the topic of the protocol."""


class Topics:
    """Every join. A private and a public channel of one name are two topics."""

    def __init__(self) -> None:
        self._channels: dict[Join, Channel] = {}
        self._references = itertools.count(1)

    def add(self, join: Join, channel: Channel) -> None:
        self._channels[join] = channel

    def get(self, join: Join) -> Channel | None:
        return self._channels.get(join)

    def remove(self, join: Join) -> Channel:
        """Forget a join; the others see that the client has left."""
        channel = self._channels.pop(join)
        if channel.presence is not None:
            self.set_presence(channel, None)
        return channel

    def list_joins(self) -> list[tuple[Join, Channel]]:
        return list(self._channels.items())

    def broadcast(
        self,
        topic: str,
        is_private: bool,
        event: str,
        payload: object,
        *,
        message_id: str | None = None,
        exempt: Channel | None = None,
    ) -> None:
        """Send a message to all that may hear it, by the cached answers."""
        frame = encode_broadcast(PREFIX + topic, event, payload, message_id)
        for channel in self._list_members(topic, is_private):
            if channel is not exempt and channel.can_hear(BROADCAST):
                channel.send_frame(frame)

    def set_presence(self, channel: Channel, shared: dict[str, Any] | None) -> None:
        """Replace what a client shares about itself; None: nothing."""
        before = channel.presence
        reference = {"phx_ref": str(next(self._references))}
        channel.presence = None if shared is None else shared | reference
        joins, leaves = (
            {} if meta is None else {channel.presence_key: {"metas": [meta]}}
            for meta in (channel.presence, before)
        )
        for member in self._list_members(channel.topic, channel.is_private):
            if member.has_presence and member.can_hear(PRESENCE):
                member.send("presence_diff", {"joins": joins, "leaves": leaves})

    def list_presence(self, channel: Channel) -> dict[str, Any]:
        """Return what the clients of a topic share about themselves."""
        return {
            member.presence_key: {"metas": [member.presence]}
            for member in self._list_members(channel.topic, channel.is_private)
            if member.presence is not None
        }

    def _list_members(self, topic: str, is_private: bool) -> list[Channel]:
        return [
            channel
            for channel in self._channels.values()
            if (channel.topic, channel.is_private) == (topic, is_private)
        ]
