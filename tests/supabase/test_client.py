"""Shows that no answer of Supabase, or none, is ever an exception, or taken for a success."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.entities import Kind
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.supabase.client import Answer, RowPlace, SupabaseClient, open_http_client
from app.supabase.planning import plan_request
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
UNAVAILABLE = RequestFailureKind.UNAVAILABLE

Answering = (
    Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


def answer_with(status: int, content: bytes | httpx.AsyncByteStream, **headers: str) -> Answering:
    def answer(_: httpx.Request) -> httpx.Response:
        if isinstance(content, bytes):
            return httpx.Response(status, content=content, headers=headers)
        return httpx.Response(status, stream=content, headers=headers)

    return answer


async def apply(answer: Answering, *, timeout_seconds: float = 5.0) -> Answer | RequestFailure:
    """Apply OPERATIONS over a client like that of the relay. Fails rather than hangs."""
    transport = httpx.MockTransport(answer)
    async with (
        asyncio.timeout(3),
        open_http_client(URL, {}, timeout_seconds=timeout_seconds, transport=transport) as http,
    ):
        client = SupabaseClient(http, clock=lambda: NOW)
        return await client.apply(42, SEQUENCE, OPERATIONS, budget_ms=3000)


async def claim(answer: Answering) -> int | RequestFailure:
    transport = httpx.MockTransport(answer)
    async with open_http_client(URL, {}, timeout_seconds=5, transport=transport) as http:
        return await SupabaseClient(http, clock=lambda: NOW).claim()


def write_answer(**parts: object) -> bytes:
    answer = {"sequence": SEQUENCE, "failures": [], "not_tried": []} | parts
    return json.dumps({name: part for name, part in answer.items() if part is not ...}).encode()


def assert_not_ours(answer: object) -> None:
    assert isinstance(answer, RequestFailure)
    assert answer.kind is UNAVAILABLE
    assert "not that of relay_apply" in answer.message
    assert "SUPABASE_URL" in answer.message


# Answers of the functions


async def test_rows_that_an_answer_does_not_name_are_applied() -> None:
    answer = await apply(answer_with(200, write_answer()))
    assert answer == Answer({}, frozenset())


async def test_rows_that_failed_and_rows_that_were_not_tried_are_told_apart() -> None:
    failed = {"operation": 1, "row": 0, "sqlstate": "23505", "message": "taken"}
    body = write_answer(failures=[failed], not_tried=[{"operation": 1, "row": 1}])
    assert await apply(answer_with(200, body)) == Answer(
        {RowPlace(1, 0): RowFailure(RowFailureKind.UNIQUE_CONFLICT, "23505", "taken")},
        frozenset([RowPlace(1, 1)]),
    )


async def test_failure_is_read_by_the_operation_of_its_row() -> None:
    failures = [{"operation": n, "row": 0, "sqlstate": "23503"} for n in (0, 1)]
    answer = await apply(answer_with(200, write_answer(failures=failures)))
    assert isinstance(answer, Answer)
    assert [failure.kind for failure in answer.failures.values()] == [
        RowFailureKind.STILL_REFERENCED,
        RowFailureKind.MISSING_REFERENCE,
    ]


async def test_answer_may_say_more_than_is_known_of() -> None:
    failed = {"operation": 0, "row": 0, "sqlstate": "XX000", "hint": "news"}
    body = write_answer(failures=[failed], news=1)
    assert isinstance(await apply(answer_with(200, body)), Answer)


def fail(**parts: object) -> bytes:
    return write_answer(failures=[{"operation": 0, "row": 0, "sqlstate": "23505"} | parts])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 10_000,
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'[{"sequence": 7, "failures": [], "not_tried": []}]',
        write_answer()[:-1],
        # Of another request
        write_answer(sequence=SEQUENCE - 1),
        write_answer(sequence=SEQUENCE + 1),
        write_answer(sequence=str(SEQUENCE)),
        write_answer(sequence=None),
        write_answer(sequence=...),
        # Without saying what became of the rows
        write_answer(failures=...),
        write_answer(not_tried=...),
        write_answer(failures=None),
        write_answer(failures={}),
        write_answer(failures=""),
        write_answer(not_tried={}),
        write_answer(failures=["x"]),
        write_answer(failures=[[]]),
        write_answer(not_tried=[7]),
        # Rows that there are not
        *(
            wrong
            for place in (
                {"operation": 2},
                {"operation": -1},
                {"operation": None},
                {"operation": "0"},
                {"operation": 0.0},
                {"row": 1},
                {"row": -1},
                {"row": True},
                {"row": "0"},
                {"row": []},
            )
            for wrong in (
                fail(**place),
                write_answer(not_tried=[{"operation": 0, "row": 0} | place]),
            )
        ),
        write_answer(not_tried=[{"operation": 0}]),
        # Failures that PostgreSQL does not have
        fail(sqlstate=None),
        fail(sqlstate="23"),
        fail(message="\0"),
        fail(message="\ud800"),
    ],
    ids=lambda body: repr(body[:60]),
)
async def test_answer_that_is_not_that_of_the_function_is_no_success(body: bytes) -> None:
    assert_not_ours(await apply(answer_with(200, body)))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_success_of_any_status_needs_an_answer(status: int) -> None:
    assert_not_ours(await apply(answer_with(status, b"")))


async def test_claim_gives_the_epoch_of_the_requests_that_follow() -> None:
    assert await claim(answer_with(200, b'{"protocol": 1, "epoch": 42}')) == 42


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"42",
        b"{}",
        b'{"protocol": 1}',
        b'{"epoch": 42}',
        b'{"protocol": 2, "epoch": 42}',
        b'{"protocol": 1, "epoch": "42"}',
        b'{"protocol": 1, "epoch": null}',
        b'{"protocol": 1, "epoch": true}',
        b'{"protocol": 1, "epoch": 4.5}',
    ],
)
async def test_claim_takes_no_answer_of_another_form(body: bytes) -> None:
    assert_not_ours(await claim(answer_with(200, body)))


# Failed requests


@pytest.mark.parametrize("call", [apply, claim])
async def test_failure_is_read_with_its_status_headers_and_body(
    call: Callable[[Answering], Coroutine[None, None, object]],
) -> None:
    body = json.dumps({"code": "PGRST002", "message": "the values of a row"}).encode()
    headers = {"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT"}
    failure = await call(lambda _: httpx.Response(503, content=body, headers=headers))
    assert failure == RequestFailure(UNAVAILABLE, "PGRST002", "Supabase answered 503", 60.0)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectTimeout("x"),
        httpx.ReadTimeout("x"),
        httpx.WriteTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.CloseError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.LocalProtocolError("x"),
        httpx.ProxyError("x"),
        httpx.DecodingError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("call", [apply, claim])
async def test_network_error_of_any_kind_is_named(
    call: Callable[[Answering], Coroutine[None, None, object]], error: Exception
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    failure = await call(answer)
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, type(error).__name__)
    assert failure.retry_after_seconds is None


class Body(httpx.AsyncByteStream):
    """A response body, piece by piece; counts the pieces that were asked for."""

    def __init__(self, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        self._pieces = pieces
        self.taken = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces():
            self.taken += 1
            yield piece

    async def aclose(self) -> None:
        self.is_closed = True


async def cut_in_the_middle() -> AsyncIterator[bytes]:
    yield b'{"sequence": 7, "fail'
    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


async def flow_without_end() -> AsyncIterator[bytes]:
    for _ in range(1_000):
        yield b"x" * 65_536
    raise AssertionError("64 MiB were read")


async def trickle_without_end() -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0)
        yield b""


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_answer_cut_in_the_middle_is_no_success(status: int) -> None:
    body = Body(cut_in_the_middle)
    failure = await apply(answer_with(status, body))
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, "RemoteProtocolError")
    assert body.is_closed


@pytest.mark.parametrize("status", [200, 400])
async def test_answer_broken_in_its_compression_is_no_success(status: int) -> None:
    headers = {"Content-Encoding": "gzip"}
    failure = await apply(lambda _: httpx.Response(status, headers=headers, stream=Body(plain)))
    assert isinstance(failure, RequestFailure)
    assert failure.kind is UNAVAILABLE


async def plain() -> AsyncIterator[bytes]:
    yield b"not gzip"


@pytest.mark.parametrize("status", [200, 400, 502])
async def test_endless_answer_is_read_up_to_4_mib(status: int) -> None:
    body = Body(flow_without_end)
    failure = await apply(answer_with(status, body))
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, f"HTTP {status}")
    assert body.taken <= 4 * 1024 * 1024 / 65_536 + 1
    assert body.is_closed


async def test_answer_that_names_every_row_of_a_request_is_read() -> None:
    batch = [make_entity(Kind.USER, number) for number in range(500)]
    failures = [
        {"operation": 0, "row": row, "sqlstate": "23505", "message": "m" * 500}
        for row in range(500)
    ]
    transport = httpx.MockTransport(answer_with(200, write_answer(failures=failures)))
    async with open_http_client(URL, {}, timeout_seconds=5, transport=transport) as http:
        answer = await SupabaseClient(http, clock=lambda: NOW).apply(
            42, SEQUENCE, plan_request(batch, MINIMAL_TARGETS), budget_ms=3000
        )
    assert isinstance(answer, Answer)
    assert len(answer.failures) == 500


async def test_request_that_is_never_answered_ends_with_its_timeout() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200, request=request)

    failure = await apply(answer, timeout_seconds=0.05)
    assert failure == RequestFailure(UNAVAILABLE, "TimeoutError", "Supabase did not answer in time")


@pytest.mark.parametrize("status", [200, 500])
async def test_answer_that_trickles_without_end_ends_with_the_timeout(status: int) -> None:
    # Each piece comes in time, so no timeout of a single read is ever reached.
    body = Body(trickle_without_end)
    failure = await apply(answer_with(status, body), timeout_seconds=0.05)
    assert isinstance(failure, RequestFailure)
    assert failure.kind is UNAVAILABLE
    assert body.is_closed


@pytest.mark.parametrize(
    "location",
    [
        "https://project.supabase.test/login",
        "/login",
        "",
        "http://[",
        "//",
        "mailto:ops@example.com",
        "https://xn--/",
        "http://a:b",
        "\0",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_to_anywhere_is_not_followed(status: int, location: str) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, headers=[(b"Location", location.encode())])

    assert isinstance(await apply(answer), RequestFailure)
    assert len(requests) == 1


# Anything

places = st.fixed_dictionaries(
    {}, optional={"operation": st.integers(-1, 3) | st.none(), "row": st.integers(-1, 3)}
)
states = st.sampled_from(["23503", "23505", "55P03", "P0002"]) | st.text(max_size=6)
failures = st.tuples(
    places,
    st.fixed_dictionaries(
        {}, optional={"sqlstate": states, "message": st.text(), "column": st.text() | st.none()}
    ),
).map(lambda pair: pair[0] | pair[1])
answers = st.fixed_dictionaries(
    {},
    optional={
        "sequence": st.just(SEQUENCE),
        "failures": st.lists(failures, max_size=3),
        "not_tried": st.lists(places, max_size=3),
    },
)


@settings(max_examples=200)
@given(
    status=st.sampled_from([200, 301, 429, 500]) | st.integers(200, 599),
    location=st.none() | st.binary(max_size=30) | st.from_regex(rb"[a-z]{1,6}:/?/?[!-~]{0,9}"),
    retry_after=st.none() | st.binary(max_size=30),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "x"]),
    body=st.binary() | answers.map(lambda each: json.dumps(each).encode()),
)
async def test_answer_of_any_bytes_is_read_into_what_can_be_stored(
    status: int,
    location: bytes | None,
    retry_after: bytes | None,
    encoding: str | None,
    body: bytes,
) -> None:
    values = {
        b"Location": location,
        b"Retry-After": retry_after,
        b"Content-Encoding": encoding and encoding.encode(),
    }
    headers: Any = [(name, value) for name, value in values.items() if value is not None]

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    answer = await apply(lambda _: httpx.Response(status, headers=headers, stream=Body(pieces)))
    if isinstance(answer, RequestFailure):
        return
    assert status < 300
    for place, failure in answer.failures.items():
        assert OPERATIONS[place.operation].rows[place.row]
        assert "\0" not in failure.message
        failure.message.encode()
