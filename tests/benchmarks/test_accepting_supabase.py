"""The stand-in responds to the relay's client, and fences as Supabase does."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.client import ApplyResult, SupabaseClient, open_http_client
from benchmarks.accepting_supabase import AcceptingSupabase


@pytest.fixture
async def client() -> AsyncIterator[SupabaseClient]:
    supabase = AcceptingSupabase()

    def answer(request: httpx.Request) -> httpx.Response:
        line = b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)
        head, _, body = supabase.answer(line, request.content).partition(b"\r\n\r\n")
        return httpx.Response(int(head.split()[1]), content=body)

    async with open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=httpx.MockTransport(answer)
    ) as http:
        yield SupabaseClient(http, clock=lambda: 0.0)


async def is_accepted(client: SupabaseClient, epoch: int, sequence: int) -> bool:
    answer = await client.apply(epoch, sequence, (), budget_ms=3000)
    if isinstance(answer, RequestFailure):
        assert answer.kind is RequestFailureKind.STALE
        return False
    assert answer == ApplyResult(failures={}, not_tried=frozenset())
    return True


async def test_requests_of_the_latest_claim_are_accepted_in_rising_order(
    client: SupabaseClient,
) -> None:
    assert await client.claim() == 1
    assert await is_accepted(client, 1, 1)
    assert await is_accepted(client, 1, 7)
    assert not await is_accepted(client, 1, 7)
    assert not await is_accepted(client, 1, 6)


async def test_requests_of_an_earlier_claim_are_stale(client: SupabaseClient) -> None:
    await client.claim()
    assert await client.claim() == 2
    assert not await is_accepted(client, 1, 1)
    assert await is_accepted(client, 2, 1)
