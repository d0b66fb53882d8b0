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
CHUNKED: Final = (b"transfer-encoding", b"chunked")
LAST_CHUNK: Final = b"0\r\n\r\n"

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]


@lru_cache(maxsize=256)
def _encode_fields(fields: Headers) -> bytes:
    """Encode headers that many responses share."""
    return _encode_own_fields(fields)


def _encode_own_fields(fields: Headers) -> bytes:
    """Encode headers.

    Raises:
        ValueError: one contains a line break.
    """
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    if lines.count(b"\n") != len(fields) or lines.count(b"\r") != len(fields):
        raise ValueError("a response header contains a line break")
    return lines


@lru_cache(maxsize=256)
def _encode_start(status: int, headers: Headers) -> bytes:
    """Encode the status line and the headers, without those of the framing."""
    kept = tuple(field for field in headers if field[0] not in _FRAMING)
    return _STATUS_LINES[status] + _encode_own_fields(kept)


def encode_response(
    status: int,
    headers: Headers,
    body: bytes,
    own_headers: Headers = (),
    *,
    is_head: bool,
    is_last: bool,
) -> bytes:
    """Encode a whole response.

    Args:
        status: its status.
        headers: those that many responses share: their encoding is cached.
        body: its body.
        own_headers: those of this response alone.
        is_head: whether it has no body because the request was a HEAD.
        is_last: whether the connection is closed after it.

    Raises:
        ValueError: a header contains a line break.
    """
    framing = (CLOSE,) if is_last else ()
    if status not in _WITHOUT_BODY:
        framing = (*framing, (b"content-length", b"%d" % len(body)))
    head = b"".join(
        (
            _encode_start(status, headers),
            _encode_own_fields(own_headers),
            _encode_fields(framing),
            b"\r\n",
        )
    )
    return head if is_head or status in _WITHOUT_BODY else head + body


def encode_stream_head(status: int, headers: Headers, *, is_chunked: bool) -> bytes:
    """Encode the head of a response that is sent in parts; the connection is closed after it.

    Raises:
        ValueError: a header contains a line break.
    """
    framing = (CLOSE, CHUNKED) if is_chunked else (CLOSE,)
    return b"".join((_encode_start(status, headers), _encode_fields(framing), b"\r\n"))


def encode_chunk(data: bytes) -> bytes:
    """Encode data as a chunk; it must not be empty, as an empty chunk is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)
