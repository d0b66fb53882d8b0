"""Limits on what connections may cost before a request is authenticated."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the HTTP server.

    Attributes:
        connections: open connections.
        head_bytes: the request line and the header fields.
        head_fields: header fields of a request.
        head_seconds: from a request's first byte to the end of its head.
        body_seconds: from the end of the head to the end of the body.
        idle_seconds: how long a connection may be idle, or a client leave responses unread.
        linger_seconds: how long a client may take to read the last response.
        read_bytes: one read, and so what may wait behind a request in flight.
        held_bytes: memory of all unfinished requests, waiting requests and unread responses.
    """

    connections: int = 2000
    head_bytes: int = 32 * KIB
    head_fields: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0
    read_bytes: int = 32 * KIB
    held_bytes: int = 64 * MIB
