"""Reads and checks what can be judged of a request before its sender is known."""

from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.domain.errors import BodyTooLarge, ContentEncodingUnsupported, MediaTypeUnsupported

EVENT_BYTES: Final = 64 * 1024
BATCH_BYTES: Final = 1024 * 1024
REPLAY_BYTES: Final = 1024 * 1024


async def read_body(receive: Receive, *, limit_bytes: int) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: it is longer than the limit; no more of it than that is kept.
        ClientDisconnect: the client is gone.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def require_json(headers: dict[bytes, bytes]) -> None:
    """Check that the body is declared to be JSON, and sent as it is.

    Raises:
        MediaTypeUnsupported: it is not JSON.
        ContentEncodingUnsupported: it is compressed or encoded otherwise.
    """
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise MediaTypeUnsupported
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
        raise ContentEncodingUnsupported


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """Give the headers by lower-case name.

    The lines of a repeated header are joined by ", " in their order: one list, as RFC 9110, section
    5.3, has it. So what a proxy has folded reads the same, and a repeated `webhook-id` or
    `authorization` is a value that nobody has signed.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        earlier = headers.get(name)
        headers[name] = value if earlier is None else b"%b, %b" % (earlier, value)
    return headers
