"""Encodes responses."""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = (b"connection", b"close")

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]


@lru_cache(maxsize=256)
def encode_head(status: int, headers: Headers, framing: Headers) -> bytes:
    """Encode the status line and the headers.

    Raises:
        ValueError: a header contains a line break.
    """
    lines = [b"%b: %b\r\n" % field for field in headers if field[0] not in _FRAMING]
    lines += [b"%b: %b\r\n" % field for field in framing]
    head = b"".join((_STATUS_LINES[status], *lines, b"\r\n"))
    if head.count(b"\n") != len(lines) + 2 or head.count(b"\r") != len(lines) + 2:
        raise ValueError("a response header contains a line break")
    return head


def encode_response(
    status: int, headers: Headers, body: bytes, *, is_head: bool, is_last: bool
) -> bytes:
    """Encode a whole response."""
    framing = (CLOSE,) if is_last else ()
    if status in _WITHOUT_BODY:
        return encode_head(status, headers, framing)
    length = (b"content-length", b"%d" % len(body))
    head = encode_head(status, headers, (*framing, length))
    return head if is_head else head + body
