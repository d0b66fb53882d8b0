"""The recorder reads what the relay really sends."""

import httpx
import pytest

from app.domain.entities import Kind
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.planning import Action, plan_batch
from app.supabase.targets import MINIMAL_TARGETS
from benchmarks.recorder import LINE_BYTES, write_lines
from tests.supabase.entities import make_entity, make_id


async def send(kind: Kind, action: Action, *numbers: int) -> list[httpx.Request]:
    """Have the relay's client write entities, whose memberships are of two trips."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(201)

    entities = [make_entity(kind, number, action, parent=900 + number % 2) for number in numbers]
    transport = httpx.MockTransport(answer)
    async with open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=transport
    ) as http:
        for write in plan_batch(entities, MINIMAL_TARGETS):
            assert await SupabaseClient(http, clock=lambda: 0.0).apply(write) is None
    return requests


def record(request: httpx.Request) -> str:
    head = b"%b %b HTTP/1.1\r\nHost: a" % (request.method.encode(), request.url.raw_path)
    return write_lines(head, request.content, 12.5).decode()


@pytest.mark.parametrize(("action", "sign"), [(Action.UPSERT, "+"), (Action.REMOVE, "-")])
async def test_write_of_memberships_gives_a_line_of_each(action: Action, sign: str) -> None:
    (request,) = await send(Kind.MEMBERSHIP, action, 1, 2, 3)

    lines = record(request)

    keys = [f"{make_id(900 + number % 2)}/{make_id(number)}" for number in (2, 1, 3)]
    assert lines == "".join(f"0000000000012.500000 {sign} {key}\n" for key in keys)
    assert len(lines) == 3 * LINE_BYTES


async def test_removals_that_take_two_requests_give_a_line_of_each() -> None:
    requests = await send(Kind.MEMBERSHIP, Action.REMOVE, *range(1, 61))

    assert len(requests) == 2
    assert sum(len(record(request)) for request in requests) == 60 * LINE_BYTES


@pytest.mark.parametrize("action", [Action.UPSERT, Action.REMOVE])
async def test_write_of_a_parent_gives_no_line(action: Action) -> None:
    (request,) = await send(Kind.TRIP, action, 1)

    assert record(request) == ""
