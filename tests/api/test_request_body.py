"""Reads request bodies within their limit, from several messages."""

from collections.abc import Iterable

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.api.request_body import read_body, read_headers, require_json
from app.domain.errors import BodyTooLarge, ContentEncodingUnsupported, MediaTypeUnsupported

LIMIT = 10
GONE: Message = {"type": "http.disconnect"}


def chunk(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """Hands over messages and knows how many were asked for."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.messages = list(messages)
        self.received = 0

    async def __call__(self) -> Message:
        self.received += 1
        return self.messages[self.received - 1]


async def read(*messages: Message) -> tuple[bytes, int]:
    server = Server(messages)
    return await read_body(server, limit_bytes=LIMIT), server.received


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([chunk(b"")], b""),
        ([{"type": "http.request"}], b""),
        ([chunk(b"0123456789")], b"0123456789"),
        ([chunk(b"01234", more=True), chunk(b"56789")], b"0123456789"),
        ([chunk(b"0123456789", more=True), chunk(b"")], b"0123456789"),
        ([chunk(b"", more=True), chunk(b"01", more=True), chunk(b"2")], b"012"),
    ],
)
async def test_body_within_the_limit_is_read_whole(messages: list[Message], body: bytes) -> None:
    assert await read(*messages) == (body, len(messages))


@pytest.mark.parametrize(
    "messages",
    [
        [chunk(b"0123456789a")],
        [chunk(b"0123456789", more=True), chunk(b"a")],
        [chunk(b"0123456789", more=True), chunk(b"a", more=True)],
        [chunk(b"0123456789a", more=True)],
    ],
)
async def test_body_that_grows_too_large_is_received_no_further(messages: list[Message]) -> None:
    # Nor is more asked for than shows that it is too large: the list ends there.
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        await read(*messages)


@pytest.mark.parametrize(
    "messages", [[GONE], [chunk(b"01", more=True), GONE], [chunk(b"", more=True), GONE]]
)
async def test_body_of_a_disconnected_sender_is_not_read(messages: list[Message]) -> None:
    with pytest.raises(ClientDisconnect):
        await read(*messages)


@pytest.mark.parametrize(
    "media_type",
    [
        b"application/json",
        b"application/json;charset=utf-8",
        b" APPLICATION/JSON ; charset=utf-8",
    ],
)
def test_content_type_of_json_passes(media_type: bytes) -> None:
    require_json({b"content-type": media_type})


@pytest.mark.parametrize(
    "media_type", [b"", b";application/json", b"text/json", b"application/json,text/plain", b"\xff"]
)
def test_content_type_of_anything_else_is_unsupported(media_type: bytes) -> None:
    with pytest.raises(MediaTypeUnsupported):
        require_json({b"content-type": media_type})


def test_content_type_missing_is_unsupported() -> None:
    with pytest.raises(MediaTypeUnsupported):
        require_json({})


@pytest.mark.parametrize("encoding", [b"identity", b"Identity", b""])
def test_content_encoding_that_is_none_passes(encoding: bytes) -> None:
    require_json({b"content-type": b"application/json", b"content-encoding": encoding})


@pytest.mark.parametrize("encoding", [b"gzip", b"identity, gzip", b"br", b"identity, identity"])
def test_content_encoding_of_any_kind_is_unsupported(encoding: bytes) -> None:
    with pytest.raises(ContentEncodingUnsupported):
        require_json({b"content-type": b"application/json", b"content-encoding": encoding})


def test_headers_sent_twice_are_one_list_in_their_order() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]}
    assert read_headers(scope) == {b"a": b"1, 3", b"b": b"2"}
