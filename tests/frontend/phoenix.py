"""Phoenix's channel protocol, version 2.0.0, with the binary broadcasts that Realtime adds.

A message is a JSON array. A broadcast is binary: a kind, the lengths of the fields, the fields, and
the payload (`RealtimeWeb.Socket.V2Serializer` in Realtime's published source).
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = "2.0.0"
_BROADCAST_IN: Final = 3
_BROADCAST_OUT: Final = 4
_JSON: Final = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A message in either direction.

    Attributes:
        join_ref: names one join of the topic by this client.
        ref: names a message that wants a reply, and its reply.
    """

    topic: str
    event: str
    payload: dict[str, Any] = field(default_factory=dict)
    join_ref: str | None = None
    ref: str | None = None


def decode(frame: str | bytes) -> Message:
    """Read a client's message; a broadcast's payload is as in its JSON form."""
    if isinstance(frame, str):
        join_ref, ref, topic, event, payload = json.loads(frame)
        return Message(topic, event, payload, join_ref, ref)
    if frame[0] != _BROADCAST_IN or frame[6] != _JSON:
        raise ValueError(f"not a broadcast with a JSON payload: kind {frame[0]}")
    fields, at = [], 7
    for length in frame[1:6]:
        fields.append(frame[at : at + length].decode())
        at += length
    join_ref, ref, topic, event, _ = fields
    payload = {"type": "broadcast", "event": event, "payload": json.loads(frame[at:])}
    return Message(topic, "broadcast", payload, join_ref or None, ref or None)


def encode(message: Message) -> str:
    """Write a message of the server that is not a broadcast."""
    return json.dumps(
        [message.join_ref, message.ref, message.topic, message.event, message.payload]
    )


def encode_broadcast(topic: str, event: str, payload: object, message_id: str | None) -> bytes:
    """Write a broadcast; a stored message has an id."""
    metadata = "" if message_id is None else json.dumps({"id": message_id})
    fields = [each.encode() for each in (topic, event, metadata)]
    header = bytes([_BROADCAST_OUT, *map(len, fields), _JSON])
    return header + b"".join(fields) + json.dumps(payload).encode()
