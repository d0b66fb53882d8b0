"""What one connection and all of them together may cost before a request is authenticated."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP server.

    Attributes:
        connections: open at once.
        head_bytes: of a request line and its header fields.
        head_fields: header fields of a request.
        head_seconds: from a request's first byte to the end of its head.
        body_seconds: from the end of the head to the end of the body.
        idle_seconds: for which a connection may wait without a request, or without reading answers.
        linger_seconds: for which a client may read the last answer before the connection is cut.
        read_bytes: at once from a connection: as much may wait behind a request that is answered.
        held_bytes: of all unfinished requests, requests behind them and answers that are not read.
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
