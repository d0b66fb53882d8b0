"""Every failed request becomes a named failure, never an exception."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.exchange import Exchange
from tests.supabase.function_calls import (
    NOW,
    OPERATIONS,
    SEQUENCE,
    Answering,
    apply,
    claim,
    observe_claim,
    respond_with,
)

UNAVAILABLE = RequestFailureKind.UNAVAILABLE


@pytest.mark.parametrize("call", [apply, claim])
async def test_failure_is_read_with_its_status_headers_and_body(
    call: Callable[[Answering], Coroutine[None, None, object]],
) -> None:
    body = json.dumps({"code": "PGRST002", "message": "the values of a row"}).encode()
    headers = {"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT"}
    failure = await call(lambda _: httpx.Response(503, content=body, headers=headers))
    assert failure == RequestFailure(UNAVAILABLE, "PGRST002", "Supabase responded 503", 60.0)


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
    """A response body in chunks; counts the chunks that were read."""

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
async def test_response_cut_in_the_middle_is_a_failure(status: int) -> None:
    body = Body(cut_in_the_middle)
    failure = await apply(respond_with(status, body))
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, "RemoteProtocolError")
    assert body.is_closed


@pytest.mark.parametrize("status", [200, 400])
async def test_response_with_broken_compression_is_a_failure(status: int) -> None:
    headers = {"Content-Encoding": "gzip"}
    failure = await apply(lambda _: httpx.Response(status, headers=headers, stream=Body(plain)))
    assert isinstance(failure, RequestFailure)
    assert failure.kind is UNAVAILABLE


async def plain() -> AsyncIterator[bytes]:
    yield b"not gzip"


@pytest.mark.parametrize("status", [200, 400, 502])
async def test_response_without_end_is_read_up_to_4_mib(status: int) -> None:
    body = Body(flow_without_end)
    failure = await apply(respond_with(status, body))
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, f"HTTP {status}")
    assert body.taken <= 4 * 1024 * 1024 / 65_536 + 1
    assert body.is_closed


async def test_request_without_a_response_ends_with_its_timeout() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200, request=request)

    failure = await apply(answer, timeout_seconds=0.05)
    assert failure == RequestFailure(
        UNAVAILABLE, "TimeoutError", "Supabase did not respond in time"
    )


@pytest.mark.parametrize("status", [200, 500])
async def test_response_that_trickles_ends_with_the_timeout(status: int) -> None:
    # Each chunk is in time, so no single read times out.
    body = Body(trickle_without_end)
    failure = await apply(respond_with(status, body), timeout_seconds=0.05)
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


# Any input

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


@given(
    status=st.sampled_from([200, 301, 429, 500]) | st.integers(200, 599),
    location=st.none() | st.binary(max_size=30) | st.from_regex(rb"[a-z]{1,6}:/?/?[!-~]{0,9}"),
    retry_after=st.none() | st.binary(max_size=30),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "x"]),
    body=st.binary() | answers.map(lambda each: json.dumps(each).encode()),
)
async def test_response_of_any_bytes_gives_a_storable_failure(
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


async def never_respond(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def refuse_connection(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("x")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (respond_with(200, b'{"protocol": 1, "epoch": 42}'), "2xx"),
        (respond_with(200, b"<html>"), "invalid"),
        (respond_with(200, b"[]"), "invalid"),
        (respond_with(301, b""), "3xx"),
        (respond_with(301, b"", Location="https://xn--/"), "error"),
        (respond_with(401, b"{}"), "4xx"),
        (respond_with(503, b""), "5xx"),
        (respond_with(200, Body(cut_in_the_middle)), "error"),
        (refuse_connection, "error"),
        (never_respond, "timeout"),
    ],
)
async def test_request_is_observed_once_with_its_status(answer: Answering, status: str) -> None:
    assert await observe_claim(answer) == [Exchange("relay_claim", status, 1.0, NOW)]
