"""Who wants to know when a request has left is told, and sends nothing else than others do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.domain.entities import Kind
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.planning import Action, Write
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.entities import make_entity

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + b'[{"id":"x"}]'


class Listener:
    """Takes requests at the wire and answers none before it may.

    Attributes:
        received: of every connection so far.
        may_answer: until it is set, nobody is answered.
        connections: that were ever there; each ends when its client has closed it.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.connections: list[asyncio.Task[object] | None] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.current_task())
        self.received.append(b"")
        number = len(self.received) - 1
        while chunk := await reader.read(65536):
            self.received[number] += chunk
            await self.may_answer.wait()
            writer.write(_ANSWER)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def listen() -> AsyncIterator[tuple[Listener, str]]:
    listener = Listener()
    server = await asyncio.start_server(listener.take, "127.0.0.1", 0)
    async with server:
        yield listener, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for connection in filter(None, listener.connections):
        await connection


@pytest.mark.parametrize("action", list(Action))
async def test_sender_is_told_when_a_request_has_left_before_it_is_answered(
    action: Action,
) -> None:
    what = Action.REMOVE if action is Action.REMOVE else Action.UPSERT
    entities = (make_entity(Kind.TRIP, 1, what),)
    write = Write(MINIMAL_TARGETS[Kind.TRIP], action, entities)
    has_left = asyncio.Event()
    async with asyncio.timeout(10), listen() as (listener, url):
        async with open_http_client(url, {"apikey": "key"}, timeout_seconds=5) as http:
            applying = asyncio.create_task(
                SupabaseClient(http, clock=lambda: 0.0).apply(write, has_left.set)
            )
            await has_left.wait()
            assert not applying.done()
            listener.may_answer.set()
            assert await applying is None
        async with open_http_client(url, {"apikey": "key"}, timeout_seconds=5) as http:
            assert await SupabaseClient(http, clock=lambda: 0.0).apply(write) is None
    told, untold = listener.received
    assert told == untold
    method = {Action.UPSERT: b"POST", Action.UPDATE: b"PATCH", Action.REMOVE: b"DELETE"}[action]
    assert told.startswith(method + b" /rest/v1/trips?")
    assert told.endswith(b"\r\n\r\n") is (action is Action.REMOVE)


async def test_sender_is_not_told_of_a_request_that_never_left() -> None:
    write = Write(
        MINIMAL_TARGETS[Kind.TRIP], Action.REMOVE, (make_entity(Kind.TRIP, 1, Action.REMOVE),)
    )
    has_left = asyncio.Event()
    async with listen() as (_, url):
        pass
    async with open_http_client(url, {"apikey": "key"}, timeout_seconds=5) as http:
        failure = await SupabaseClient(http, clock=lambda: 0.0).apply(write, has_left.set)
    assert failure is not None
    assert not has_left.is_set()
