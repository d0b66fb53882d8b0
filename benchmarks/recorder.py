"""A transparent proxy before Supabase that notes when each row was there.

`python -m benchmarks.recorder PORT UPSTREAM_PORT DELAY FILE` holds every request back for so many
seconds, and every answer too. When Supabase has answered a write of memberships with 2xx, a line
for each of them goes to the file.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote

import uvloop

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_WRITE: Final = re.compile(rb"(POST|DELETE) \S*/trip_memberships\?(\S*) ")
_REMOVED: Final = re.compile(r"and\(trip_id\.eq\.([^,]+),user_id\.in\.\(([^)]+)\)\)")
_KEY_CHARACTERS: Final = 36 + 1 + 36
LINE_BYTES: Final = 20 + 1 + 1 + 1 + _KEY_CHARACTERS + 1
"""Of `<monotonic seconds> <+ or -> <trip>/<user>` and a line's end: all lines are of a length."""


def write_lines(head: bytes, body: bytes, answered_at: float) -> bytes:
    """Write a line for each membership that a request names; none for any other request."""
    write = _WRITE.match(head)
    if write is None:
        return b""
    sign = "+" if write[1] == b"POST" else "-"
    keys = _list_upserted(body) if sign == "+" else _list_removed(unquote(write[2].decode()))
    return "".join(f"{answered_at:020.6f} {sign} {key}\n" for key in keys).encode()


def _list_upserted(body: bytes) -> Iterator[str]:
    return (f"{row['trip_id']}/{row['user_id']}" for row in json.loads(body))


def _list_removed(query: str) -> Iterator[str]:
    for trip_id, user_ids in _REMOVED.findall(query):
        for user_id in user_ids.split(","):
            yield f"{trip_id}/{user_id}"


class _Downstream(asyncio.Protocol):
    """The relay's connection. It sends a request only after the last one is answered."""

    def __init__(self, upstream_port: int, delay_seconds: float, file: FileIO) -> None:
        self._port = upstream_port
        self._delay_seconds = delay_seconds
        self._file = file
        self._buffer = b""
        self._open: tuple[bytes, bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._upstream: asyncio.Task[asyncio.Transport] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)
        self._upstream = asyncio.ensure_future(self._connect())

    async def _connect(self) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            lambda: _Upstream(self), "127.0.0.1", self._port
        )
        return transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or (length is not None and len(body) < int(length[1])):
            return
        self._open = (head, body)
        self._buffer = b""
        self._later(lambda: self._forward(head + separator + body))

    def _forward(self, request: bytes) -> None:
        if self._upstream is not None:
            self._upstream.add_done_callback(lambda connected: connected.result().write(request))

    def answer(self, data: bytes) -> None:
        """Pass on what Supabase answers; its first bytes say whether it has done what was asked."""
        now = time.monotonic()
        self._later(lambda: self._reply(data))
        if self._open is not None:
            head, body = self._open
            self._open = None
            if data.startswith(b"HTTP/1.1 2"):
                self._file.write(write_lines(head, body, now))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._upstream is not None:
            self._upstream.add_done_callback(
                lambda connected: None if connected.exception() else connected.result().close()
            )

    def end(self) -> None:
        """End it as Supabase has."""
        self._later(self._close)

    def _reply(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _later(self, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._delay_seconds, call)


class _Upstream(asyncio.Protocol):
    def __init__(self, downstream: _Downstream) -> None:
        self._downstream = downstream

    def data_received(self, data: bytes) -> None:
        self._downstream.answer(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._downstream.end()


async def _serve(port: int, upstream_port: int, delay_seconds: float, path: Path) -> None:
    loop = asyncio.get_running_loop()
    with path.open("ab", buffering=0) as file:
        server = await loop.create_server(
            lambda: _Downstream(upstream_port, delay_seconds, file),
            "127.0.0.1",
            port,
        )
        async with server:
            await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    port, upstream_port, delay_seconds, path = sys.argv[1:]
    uvloop.run(_serve(int(port), int(upstream_port), float(delay_seconds), Path(path)))


if __name__ == "__main__":
    main()
