"""Reading a body with a bound, before anything is known of who sent it."""

import asyncio
import re
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.domain.errors import BodyTooLarge, BodyTooSlow, MediaTypeUnsupported

EVENT_BYTES: Final = 64 * 1024
BATCH_BYTES: Final = 1024 * 1024
REPLAY_BYTES: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0


async def read_body(
    receive: Receive,
    headers: dict[bytes, bytes],
    *,
    limit_bytes: int,
    limit_seconds: float = BODY_SECONDS,
) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: it is longer than the limit; no more of it than that is held.
        BodyTooSlow: it did not arrive in time; until then it held a place.
        ClientDisconnect: the client went away.
    """
    declared = headers.get(b"content-length")
    # Only a shortcut past a body that says it is too large: what arrives is counted all the same.
    if declared is not None and re.fullmatch(rb"[0-9]+", declared) is not None:
        significant = declared.lstrip(b"0")
        if len(significant) > 15 or int(significant or b"0") > limit_bytes:
            raise BodyTooLarge(limit_bytes)
    try:
        async with asyncio.timeout(limit_seconds):
            return await _read_all(receive, limit_bytes)
    except TimeoutError as error:
        raise BodyTooSlow(limit_seconds) from error


async def _read_all(receive: Receive, limit_bytes: int) -> bytes:
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
