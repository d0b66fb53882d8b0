"""Encodes responses."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = (b"connection", b"close")
CHUNKED: Final = (b"transfer-encoding", b"chunked")
LAST_CHUNK: Final = b"0\r\n\r\n"

Header = tuple[bytes, bytes]
Headers = Iterable[Header]


def encode_head(status: int, headers: Headers, framing: Headers) -> bytes:
    """Encode the status line and the headers.

    Args:
        status: of the response.
        headers: of the application; what it says of the framing is left out.
        framing: what the server says of it.

    Raises:
        ValueError: a header holds a line break.
    """
    content = [_STATUS_LINES[status]]
    for name, value in headers:
        if name in _FRAMING:
            continue
        if b"\n" in value or b"\r" in value:
            raise ValueError(f"the response header {name!r} holds a line break")
        content += (name, b": ", value, b"\r\n")
    for name, value in framing:
        content += (name, b": ", value, b"\r\n")
    content.append(b"\r\n")
    return b"".join(content)


def encode_response(
    status: int, headers: Headers, body: bytes, *, is_head: bool, is_last: bool
) -> bytes:
    """Encode a whole response.

    Args:
        status: of the response.
        headers: of the application.
        body: all of it; of a response to HEAD, what is not sent.
        is_head: whether it responds to HEAD.
        is_last: whether the connection ends with it.
    """
    framing = [CLOSE] if is_last else []
    if status in _WITHOUT_BODY:
        return encode_head(status, headers, framing)
    framing.append((b"content-length", b"%d" % len(body)))
    head = encode_head(status, headers, framing)
    return head if is_head else head + body


def encode_chunk(data: bytes) -> bytes:
    """Encode a part of a streamed response; nothing for no data, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
