"""Event streams: parts that arrive at once, slow readers, disconnects and the stop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.server.limits import Limits
from tests.api.relay_harness import RelayStarter
from tests.server.raw_http import RawConnection, await_that
from tests.server.served import Served, serve
from tests.server.test_cycle import add_route, assert_serves, write_get

EVENT = b"data: x\n\n"
CHUNK = b"9\r\ndata: x\n\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Stream:
    """An endpoint that sends one event, and a second one after `resume`."""

    def __init__(self, *, is_endless: bool = True) -> None:
        self.is_open = False
        self._is_endless = is_endless
        self._resumed = asyncio.Event()

    async def respond(self, _: Request) -> Response:
        return StreamingResponse(self._write(), media_type="text/event-stream")

    async def _write(self) -> AsyncIterator[bytes]:
        self.is_open = True
        try:
            yield EVENT
            if self._is_endless:
                await self._resumed.wait()
            yield EVENT
        finally:
            self.is_open = False


@contextmanager
def open_stream(served: Served, path: str) -> Iterator[tuple[RawConnection, Stream]]:
    stream = Stream()
    add_route(served, path, stream.respond)
    with served.open() as client:
        client.send(write_get(path))
        yield client, stream


def test_event_is_sent_at_once(served: Served) -> None:
    with open_stream(served, "/test/at-once") as (client, stream):
        head = client.read_head()
        assert head.status == 200
        assert head.fields[b"transfer-encoding"] == b"chunked"
        assert head.fields[b"connection"] == b"close"
        assert b"content-length" not in head.fields
        assert client.read_bytes(len(CHUNK)) == CHUNK
        assert stream.is_open


def test_end_of_a_stream_ends_the_connection(served: Served) -> None:
    add_route(served, "/test/end", Stream(is_endless=False).respond)
    with served.open() as client:
        # In one piece: the connection may be closed before a second one.
        client.send(write_get("/test/end") + write_get("/health/live"))
        client.read_head()
        assert client.read_to_end() == 2 * CHUNK + LAST_CHUNK


def test_stream_to_http_1_0_ends_with_the_connection(served: Served) -> None:
    add_route(served, "/test/end-1.0", Stream(is_endless=False).respond)
    with served.open() as client:
        client.send(write_get("/test/end-1.0", http="1.0"))
        assert b"transfer-encoding" not in client.read_head().fields
        assert client.read_to_end() == 2 * EVENT


def test_response_to_head_ends_the_stream(served: Served) -> None:
    stream = Stream()
    add_route(served, "/test/head", stream.respond)
    with served.open() as client:
        client.send(write_get("/test/head", method="HEAD"))
        assert client.read_head().status == 200
        assert client.read_to_end() == b""
        await_that(lambda: not stream.is_open)


def test_disconnect_ends_the_stream(served: Served) -> None:
    with open_stream(served, "/test/gone") as (client, stream):
        client.read_head()
        await_that(lambda: stream.is_open)
        client.close()
        await_that(lambda: not stream.is_open)


@pytest.mark.usefixtures("quiet")
def test_stop_ends_a_stream_at_once(starter: RelayStarter) -> None:
    with (
        serve(starter, shutdown_seconds=60) as relay,
        open_stream(relay, "/test/stop") as (client, stream),
    ):
        client.read_head()
        assert client.read_bytes(len(CHUNK)) == CHUNK
        relay.stop()
        assert client.read_to_end() == LAST_CHUNK
        await_that(lambda: not stream.is_open)


def test_stream_outlives_the_limits_on_idle_connections(starter: RelayStarter) -> None:
    limits = Limits(idle_seconds=0.2, head_seconds=0.2, linger_seconds=0.2)
    with (
        serve(starter, limits=limits) as relay,
        open_stream(relay, "/test/idle") as (client, stream),
    ):
        client.read_head()
        with relay.open() as idle:
            assert idle.read_to_end() == b""  # its limit has passed meanwhile
        assert stream.is_open


def test_failing_stream_cuts_the_connection(served: Served) -> None:
    async def endpoint(_: Request) -> Response:
        async def write() -> AsyncIterator[bytes]:
            yield EVENT
            raise RuntimeError("the password is swordfish")

        return StreamingResponse(write(), media_type="text/event-stream")

    add_route(served, "/test/fails", endpoint)
    with served.open() as client:
        client.send(write_get("/test/fails"))
        client.read_head()
        assert client.read_to_end() == CHUNK


class Flood:
    """An endpoint that sends as much as the client reads."""

    def __init__(self) -> None:
        self.sent = 0
        self.is_open = True

    async def respond(self, _: Request) -> Response:
        return StreamingResponse(self._write(), media_type="text/event-stream")

    async def _write(self) -> AsyncIterator[bytes]:
        try:
            for self.sent in range(1, 101):
                yield b"x" * 10_000
                await asyncio.sleep(0)
        finally:
            self.is_open = False


def test_stream_waits_for_a_client_that_does_not_read(starter: RelayStarter) -> None:
    flood = Flood()
    with serve(starter) as relay, relay.open(receive_buffer_bytes=4096) as client:
        add_route(relay, "/test/long", flood.respond)
        client.protocol.shrink_write_buffers(4096)
        client.send(write_get("/test/long"))
        await_that(lambda: client.protocol.is_blocked)
        assert flood.sent < 100
        assert client.protocol.held_bytes > 0
        client.read_head()
        received = client.read_bytes(100 * (len(b"2710\r\n") + 10_002) + 5)
        assert received.endswith(b"\r\n" + LAST_CHUNK)
        await_that(lambda: not flood.is_open)


def test_client_that_never_reads_a_stream_is_closed(starter: RelayStarter) -> None:
    flood = Flood()
    limits = Limits(idle_seconds=0.5)
    with (
        serve(starter, limits=limits) as relay,
        relay.open(receive_buffer_bytes=4096) as client,
    ):
        add_route(relay, "/test/unread", flood.respond)
        client.protocol.shrink_write_buffers(4096)
        client.send(write_get("/test/unread"))
        await_that(lambda: not flood.is_open)
        assert flood.sent < 100
        await_that(lambda: not relay.connections)
        with relay.open() as other:
            assert_serves(other)
