"""Calls of the relay's functions with responses that the test chooses."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count

import httpx

from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.client import ApplyResult, SupabaseClient, open_http_client
from app.supabase.exchange import Exchange
from app.supabase.planning import Operation, plan_request
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.entities import make_entity

URL = "https://project.supabase.test"
NOW = 1_767_225_600.0
SEQUENCE = 7
# One membership is deleted, then two users are written.
OPERATIONS = plan_request(
    [
        make_entity(Kind.USER, 1),
        make_entity(Kind.USER, 2),
        make_entity(Kind.MEMBERSHIP, 3, is_removed=True),
    ],
    MINIMAL_TARGETS,
)

Answering = (
    Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


def respond_with(status: int, content: bytes | httpx.AsyncByteStream, **headers: str) -> Answering:
    """Respond to every request alike."""

    def answer(_: httpx.Request) -> httpx.Response:
        if isinstance(content, bytes):
            return httpx.Response(status, content=content, headers=headers)
        return httpx.Response(status, stream=content, headers=headers)

    return answer


async def apply(
    answer: Answering,
    *,
    operations: list[Operation] = OPERATIONS,
    timeout_seconds: float = 5.0,
) -> ApplyResult | RequestFailure:
    """Apply operations with a client like the relay's; fail rather than hang."""
    transport = httpx.MockTransport(answer)
    async with (
        asyncio.timeout(60),
        open_http_client(URL, {}, timeout_seconds=timeout_seconds, transport=transport) as http,
    ):
        client = SupabaseClient(http, clock=lambda: NOW)
        return await client.apply(42, SEQUENCE, operations, budget_ms=3000)


async def claim(answer: Answering) -> int | RequestFailure:
    """Claim the fence."""
    transport = httpx.MockTransport(answer)
    async with open_http_client(URL, {}, timeout_seconds=5, transport=transport) as http:
        return await SupabaseClient(http, clock=lambda: NOW).claim()


async def observe_claim(answer: Answering) -> list[Exchange]:
    """Claim the fence by a clock that advances a second with each look, and observe it."""
    exchanges: list[Exchange] = []
    seconds = count()
    transport = httpx.MockTransport(answer)
    async with open_http_client(URL, {}, timeout_seconds=0.1, transport=transport) as http:
        client = SupabaseClient(
            http,
            clock=lambda: NOW,
            monotonic=lambda: float(next(seconds)),
            observe=exchanges.append,
        )
        await client.claim()
    return exchanges
