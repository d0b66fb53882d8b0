"""A proxy before a real PostgREST that injects the faults of a hosted Supabase."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, assert_never

import httpx

from tests.loopback import NO_TLS

# Belong to one connection, not to the request or the response; httpx has decoded the body.
_HOP_BY_HOP: Final = frozenset(
    ("connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding")
)
_HEAD_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """Respond in place of Supabase.

    Attributes:
        status: of the answer.
        body: text as it is; anything else as JSON.
        headers: beside those that the body needs.
    """

    status: int
    body: object = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection.

    Attributes:
        lands: whether Supabase has done what the request asks for by then.
    """

    lands: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """Send half of a response body, then close.

    Attributes:
        status: of the answer.
        lands: whether Supabase has done what the request asks for by then.
    """

    status: int
    lands: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Send no response until healed.

    Attributes:
        lands: whether Supabase does what the request asks for before it hangs.
    """

    lands: bool = False


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Reset the connection and keep the request, which arrives when it is delivered."""


@dataclass(frozen=True, slots=True)
class Twice:
    """Forward the request twice and return the second response."""


Fault = Answer | Reset | Cut | Hang | HoldBack | Twice


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class _ConnectionEnds(Exception):
    """The connection ends."""


class FaultProxy:
    """Forwards to Supabase all requests that meet no fault.

    Attributes:
        port: of 127.0.0.1.
        arrived: how many requests have come in.
        forwarded: how many of them Supabase has seen.
    """

    def __init__(self, upstream: httpx.AsyncClient) -> None:
        self.port = 0
        self.arrived = 0
        self.forwarded = 0
        self._upstream = upstream
        self._fault: Fault | None = None
        self._passes = 0
        self._remaining: int | None = None
        self._healed = asyncio.Event()
        self._hanging = asyncio.Event()
        self._held_back: list[_Request] = []
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What SUPABASE_URL would be."""
        return f"http://127.0.0.1:{self.port}"

    def inject(self, fault: Fault, *, after: int = 0, requests: int | None = None) -> None:
        """Have requests meet a fault.

        Args:
            fault: what they meet.
            after: so many requests pass first.
            requests: so many meet it; None for all until healed.
        """
        self.heal()
        self._fault, self._passes, self._remaining = fault, after, requests
        self._healed, self._hanging = asyncio.Event(), asyncio.Event()

    def heal(self) -> None:
        """End the fault, and what hangs: a request that has not landed is forwarded now."""
        self._fault = None
        self._healed.set()

    async def wait_for_hanging(self) -> None:
        """Wait until a request hangs."""
        await self._hanging.wait()

    async def deliver(self) -> list[int]:
        """Forward what was held back, the latest first; return the response statuses."""
        held_back, self._held_back = self._held_back, []
        return [(await self._forward(request))[0] for request in reversed(held_back)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, _ConnectionEnds):
                while True:
                    request = await _read_request(reader)
                    self.arrived += 1
                    await self._answer(request, reader, writer)
        finally:
            writer.close()

    async def close(self) -> None:
        """End every connection."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _next_fault(self) -> Fault | None:
        if self._fault is None or self._remaining == 0:
            return None
        if self._passes > 0:
            self._passes -= 1
            return None
        if self._remaining is not None:
            self._remaining -= 1
        return self._fault

    async def _answer(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fault = self._next_fault()
        match fault:
            case None:
                await _send(writer, *await self._forward(request))
            case Answer(status, body, headers):
                content = body if isinstance(body, str) else json.dumps(body)
                await _send(writer, status, headers or {}, content.encode())
            case Reset(lands):
                if lands:
                    await self._forward(request)
                _reset(writer)
                raise _ConnectionEnds
            case Cut(status, lands):
                if lands:
                    await self._forward(request)
                writer.write(
                    b'HTTP/1.1 %d Cut\r\nContent-Length: 30\r\n\r\n{"code":"PGRST' % status
                )
                await writer.drain()
                raise _ConnectionEnds
            case HoldBack():
                self._held_back.append(request)
                _reset(writer)
                raise _ConnectionEnds
            case Twice():
                await self._forward(request)
                await _send(writer, *await self._forward(request))
            case Hang(lands):
                await self._hang(request, reader, writer, lands=lands)
            case _:
                assert_never(fault)

    async def _hang(
        self,
        request: _Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        lands: bool,
    ) -> None:
        landed = await self._forward(request) if lands else None
        self._hanging.set()
        healed = asyncio.create_task(self._healed.wait())
        # A caller that has given up is gone: its request must not land afterwards.
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({healed, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise _ConnectionEnds
        finally:
            healed.cancel()
            gone.cancel()
            await asyncio.gather(healed, gone, return_exceptions=True)
        await _send(writer, *(landed or await self._forward(request)))

    async def _forward(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
        self.forwarded += 1
        response = await self._upstream.request(
            request.method, request.target, headers=dict(request.headers), content=request.body
        )
        return response.status_code, response.headers, response.content


@asynccontextmanager
async def run_fault_proxy(upstream_url: str) -> AsyncIterator[FaultProxy]:
    """Run a proxy to Supabase on a free port of loopback until the block ends."""
    client = httpx.AsyncClient(base_url=upstream_url, trust_env=False, timeout=30, verify=NO_TLS)
    async with client as upstream:
        proxy = FaultProxy(upstream)
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            await proxy.close()


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    kept = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP}
    return _Request(method, target, kept, body)


async def _send(
    writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    lines = [f"HTTP/1.1 {status} Answer"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name not in _HOP_BY_HOP]
    if status != 204:
        lines.append(f"content-length: {len(body)}")
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Lingering for no time is what makes a close a reset.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
