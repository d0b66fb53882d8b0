"""ASGI requests on the regular path: failing and unusual applications."""

from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.api.relay_harness import RelayStarter
from tests.server.raw_http import RawConnection, await_that
from tests.server.served import Served, serve


def add_route(served: Served, path: str, endpoint: object) -> None:
    served.app.router.routes.append(Route(path, endpoint, methods=["GET"]))  # type: ignore[arg-type]


def write_get(path: str, *, method: str = "GET", http: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{http}\r\nHost: relay.test\r\n\r\n".encode()


def assert_serves(client: RawConnection) -> None:
    assert client.ask(write_get("/health/live")).status == 200


async def _stream(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"first", b"", b"second"):
            yield part

    return StreamingResponse(parts(), media_type="text/plain")


def test_stream_is_sent_as_a_whole(served: Served) -> None:
    add_route(served, "/test/stream", _stream)
    with served.open() as client:
        answer = client.ask(write_get("/test/stream"))
        assert (answer.status, answer.body) == (200, b"firstsecond")
        assert b"transfer-encoding" not in answer.fields
        assert_serves(client)


def test_response_to_head_has_no_body(served: Served) -> None:
    add_route(served, "/test/stream-head", _stream)
    with served.open() as client:
        for path in ("/test/stream-head", "/health", "/health/live", "/health/ready", "/metrics"):
            client.send(write_get(path, method="HEAD"))
            assert client.read_head().status == 200
        assert_serves(client)


def test_length_that_the_application_names_is_not_believed(served: Served) -> None:
    async def endpoint(_: Request) -> Response:
        return Response(b"abc", headers={"content-length": "7"})

    add_route(served, "/test/length", endpoint)
    with served.open() as client:
        answer = client.ask(write_get("/test/length"))
        assert (answer.body, answer.fields[b"content-length"]) == (b"abc", b"3")
        assert_serves(client)


def test_response_without_content_has_no_length(served: Served) -> None:
    async def endpoint(_: Request) -> Response:
        return Response(status_code=204)

    add_route(served, "/test/nothing", endpoint)
    with served.open() as client:
        assert client.ask(write_get("/test/nothing")).fields.keys() == {b"date"}
        assert_serves(client)


async def _raise(_: Request) -> Response:
    raise RuntimeError("the password is swordfish")


class _SayNothing:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Return without a response."""


async def _split_the_response(_: Request) -> Response:
    return Response(headers={"x-odd": "a\r\nx-injected: b"})


@pytest.mark.parametrize(
    "endpoint",
    [_raise, _SayNothing(), _split_the_response],
    ids=["raises", "no-response", "header-with-crlf"],
)
def test_failure_is_a_problem_without_details(served: Served, endpoint: object) -> None:
    path = f"/test/{id(endpoint)}"
    add_route(served, path, endpoint)
    with served.open() as client:
        answer = client.ask(write_get(path))
        assert (answer.status, answer.document["code"]) == (500, "internal-error")
        assert b"swordfish" not in answer.body
        assert_serves(client)


def test_stream_that_fails_is_a_problem(served: Served) -> None:
    async def endpoint(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError

        return StreamingResponse(parts())

    add_route(served, "/test/half", endpoint)
    with served.open() as client:
        assert client.ask(write_get("/test/half")).status == 500
        assert_serves(client)


def test_application_is_notified_when_the_client_disconnects(starter: RelayStarter) -> None:
    told: list[str] = []

    async def endpoint(request: Request) -> Response:
        told.append("begun")
        await request.body()
        told.append((await request.receive())["type"])
        return Response()

    with serve(starter) as relay:
        add_route(relay, "/test/gone", endpoint)
        with relay.open() as client:
            client.send(write_get("/test/gone"))
            await_that(lambda: told == ["begun"])
        await_that(lambda: told == ["begun", "http.disconnect"])
