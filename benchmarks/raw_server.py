"""An HTTP server that costs as little as one can: the body of each request in, bytes out."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import uvloop

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

Answer = Callable[[bytes, bytes], bytes]
"""Returns the response to the head and the body of a request."""


class _Connection(asyncio.Protocol):
    """Its client sends a request only after the last response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._transport is None:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) >= int(length[1]):
            self._buffer = b""
            self._transport.write(self._answer(head, body))


def write_answer(status: int, document: Mapping[str, Any]) -> bytes:
    """Write a response with a JSON document."""
    body = json.dumps(document).encode()
    return b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def serve(port: int, answer: Answer) -> None:
    """Serve until ended."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(answer), "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    uvloop.run(run())
