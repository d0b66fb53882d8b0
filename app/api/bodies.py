"""Reading a body with a bound, before anything is known of who sent it."""

import re
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.domain.errors import BodyTooLarge, MediaTypeUnsupported

EVENT_BYTES: Final = 64 * 1024
BATCH_BYTES: Final = 1024 * 1024
REPLAY_BYTES: Final = 1024 * 1024


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, limit_bytes: int) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: it is longer than the limit; no more of it than that is held.
        ClientDisconnect: the client went away.
    """
    declared = headers.get(b"content-length")
    # Only a shortcut past a body that says it is too large: what arrives is counted all the same.
    if declared is not None and re.fullmatch(rb"[0-9]+", declared) is not None:
        significant = declared.lstrip(b"0")
        if len(significant) > 15 or int(significant or b"0") > limit_bytes:
            raise BodyTooLarge(limit_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        return body
    chunks = [body]
    size = len(body)
    while message["type"] == "http.request" and message.get("more_body", False):
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        message = await receive()
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if size > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    return b"".join(chunks)


def require_json(headers: dict[bytes, bytes]) -> None:
    """Check that the body is declared to be JSON.

    Raises:
        MediaTypeUnsupported: it is not.
    """
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise MediaTypeUnsupported


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """Give the headers by lower-case name; of a name sent twice, the last."""
    return dict(scope["headers"])
