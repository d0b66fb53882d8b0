"""A server that answers without looking: what the load could reach at most.

`python -m benchmarks.ceiling PORT STATUS`. With 201 it also stands for a Supabase that takes every
write at once.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Answer(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._transport is None:
            return
        length = _LENGTH.search(head)
        if length is None or len(rest) >= int(length[1]):
            self._buffer = b""
            is_read = head.startswith(b"GET")
            self._transport.write(_write_answer(200, b"[]") if is_read else self._answer)


def _write_answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


async def _serve(port: int, status: int) -> None:
    answer = _write_answer(status, b'{"status": "accepted"}' if status == 202 else b"")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answer(answer), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
