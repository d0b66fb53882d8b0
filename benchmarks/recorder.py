"""A transparent proxy before Supabase that notes when each membership was applied.

`python -m benchmarks.recorder PORT UPSTREAM_PORT DELAY FILE` holds every request back for so many
seconds, and every answer too. When Supabase has answered `relay_apply`, a line for each membership
that was applied goes to the file.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

_BUFFER_BYTES: Final = 1024 * 1024
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_APPLY: Final = re.compile(rb"POST \S*/rpc/relay_apply ")
_SUCCESS: Final = re.compile(rb"HTTP/1\.1 2")
_TABLE: Final = "public.trip_memberships"
_KEY_CHARACTERS: Final = 36 + 1 + 36
TIME_BYTES: Final = 20
LINE_BYTES: Final = TIME_BYTES + 1 + 1 + 1 + _KEY_CHARACTERS + 1
"""Of `<monotonic seconds> <+ or -> <trip>/<user>` and a line's end: all lines are of a length."""


class Message(NamedTuple):
    """A request or a response.

    Attributes:
        head: all before the body, with the empty line.
        body: as long as Content-Length says.
    """

    head: bytes
    body: bytes


Place = tuple[int, int]
"""Of a row in a request: its operation and its number there, each from 0."""


def read_memberships(request: Message) -> dict[Place, str]:
    """Give sign and key of each membership that a request writes (+) or deletes (-)."""
    if _APPLY.match(request.head) is None:
        return {}
    operations = json.loads(json.loads(request.body)["request"])["operations"]
    return {
        (number, row_number): (
            f"{'-' if operation['operation'] == 'delete' else '+'}"
            f" {row['trip_id']}/{row['user_id']}"
        )
        for number, operation in enumerate(operations)
        if operation["table"] == _TABLE
        for row_number, row in enumerate(operation["rows"])
    }


def write_lines(memberships: Mapping[Place, str], answer: Message, answered_at: float) -> bytes:
    """Write a line for each applied membership: one that no response names as failed."""
    if not memberships or _SUCCESS.match(answer.head) is None:
        return b""
    document = json.loads(answer.body)
    left_out = {
        (place["operation"], place["row"])
        for place in (*document["failures"], *document["not_tried"])
    }
    return "".join(
        f"{answered_at:020.6f} {membership}\n"
        for place, membership in memberships.items()
        if place not in left_out
    ).encode()


class _Recorder:
    """What all connections share."""

    def __init__(self, upstream_port: int, delay_seconds: float, file: FileIO) -> None:
        self._upstream_port = upstream_port
        self._delay_seconds = delay_seconds
        self._file = file

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests of one connection, each after the response to the last."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while (request := await _read_message(reader)) is not None:
                await asyncio.sleep(self._delay_seconds)
                if upstream is None or upstream[0].at_eof():
                    # Supabase closes a connection that was idle for some seconds.
                    upstream = await asyncio.open_connection(
                        "127.0.0.1", self._upstream_port, limit=_BUFFER_BYTES
                    )
                await _write_message(upstream[1], request)
                # It takes a millisecond, while Supabase works.
                memberships = read_memberships(request)
                answer = await _read_message(upstream[0])
                answered_at = time.monotonic()
                if answer is None:
                    return
                await asyncio.sleep(self._delay_seconds)
                await _write_message(writer, answer)
                self._file.write(write_lines(memberships, answer, answered_at))
        finally:
            writer.close()
            if upstream is not None:
                upstream[1].close()


async def _read_message(reader: asyncio.StreamReader) -> Message | None:
    """Read one message; None where the connection ends first."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return Message(head, await reader.readexactly(int(length[1])) if length else b"")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _write_message(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(message.head + message.body)
    # The bytes go out once the loop has its turn.
    await asyncio.sleep(0)


async def _serve(port: int, upstream_port: int, delay_seconds: float, path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        recorder = _Recorder(upstream_port, delay_seconds, file)
        server = await asyncio.start_server(recorder.serve, "127.0.0.1", port, limit=_BUFFER_BYTES)
        async with server:
            await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    port, upstream_port, delay_seconds, path = sys.argv[1:]
    uvloop.run(_serve(int(port), int(upstream_port), float(delay_seconds), Path(path)))


if __name__ == "__main__":
    main()
