"""Parses the requests of one connection.

llhttp (httptools) parses the heads and sees nothing else. Only Content-Length or Transfer-Encoding
decide which bytes are body. `Upgrade` is ignored, as RFC 9110, section 7.8, allows.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, cast
from urllib.parse import unquote

import httptools

from app.domain.errors import BodyTooLarge, HeadTooLarge, RequestMalformed
from app.server.chunked_body import ChunkedBody
from app.server.limits import Limits

_HEAD_END: Final = b"\r\n\r\n"
_EMPTY_LINES: Final = re.compile(rb"[\r\n]*")
_LENGTH_DIGITS: Final = 19
# The request line and the empty line are not fields.
_OTHER_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a request target; `path` is percent-decoded."""

    path: str
    raw_path: bytes
    query: bytes


@dataclass(slots=True)
class Request:
    """One whole request.

    Attributes:
        headers: by lower-case name; the lines of a repeated header are joined by ", ".
        keep_alive: whether another request may follow on the connection.
    """

    method: str
    target: bytes
    version: str
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool


class Stage(Enum):
    """What the next byte belongs to."""

    START = auto()
    HEAD = auto()
    BODY = auto()


@lru_cache(maxsize=64)
def split_target(target: bytes) -> Target:
    """Split a request target.

    Raises:
        RequestMalformed: it is neither a path nor a URL.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise RequestMalformed("the target is not a URL") from error
    raw_path = url.path or b"/"
    return Target(unquote(raw_path.decode("latin-1")), raw_path, url.query or b"")


class _Head:
    """Receives llhttp's callbacks for one head."""

    __slots__ = ("ends", "headers", "lines", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.lines = 0
        self.ends = 0

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in self.headers:
            value = b"%b, %b" % (self.headers[name], value)
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.ends += 1

    def on_body(self, _: bytes) -> None:
        # llhttp was given a head only, and sees its end earlier than this parser.
        raise RequestMalformed("the head ends in more than one place")


class RequestParser:
    """Parses one request after another, and never beyond the one that is asked for."""

    def __init__(self, limits: Limits, find_body_limit: Callable[[str], int]) -> None:
        self._limits = limits
        self._find_body_limit = find_body_limit
        self._data = b""
        self._position = 0
        self._open_head: tuple[_Head, httptools.HttpRequestParser] | None = None
        self._head_bytes = 0
        self._head_tail = b""
        self._request: Request | None = None
        self._latest_head: _Head | None = None
        self._length = 0
        self._body = bytearray()
        self._chunks: ChunkedBody | None = None

    @property
    def stage(self) -> Stage:
        """What the next byte belongs to."""
        if self._request is not None:
            return Stage.BODY
        return Stage.START if self._open_head is None else Stage.HEAD

    @property
    def head(self) -> tuple[bytes, dict[bytes, bytes]] | None:
        """The target and the headers of an unfinished request; None until they are complete."""
        head = self._latest_head
        return None if head is None else (head.target, head.headers)

    @property
    def held_bytes(self) -> int:
        """The memory of the unfinished request and of the bytes after it."""
        chunked = 0 if self._chunks is None else len(self._chunks.content)
        # Empty lines count, but are not kept.
        head = 0 if self.stage is Stage.START else self._head_bytes
        return head + len(self._body) + chunked + len(self._data)

    def expects_continue(self) -> bool:
        """Tell whether the client waits for `100 Continue`."""
        return (
            self._request is not None
            and self._request.version == "1.1"
            and self._request.headers.get(b"expect", b"").lower() == b"100-continue"
            and not self._body
            and (self._chunks is None or self._chunks.is_untouched)
        )

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data = self._data[self._position :] + data if self._data else data
        self._position = 0

    def read(self) -> Request | None:
        """Return the next request, or None while it is incomplete.

        Raises:
            RequestMalformed: the bytes are not HTTP/1.1, or their framing is ambiguous.
            HeadTooLarge: the head has too many bytes or fields.
            BodyTooLarge: the body has, or declares, more bytes than the path allows.
        """
        if not self._data:
            return None
        request = self._request or self._read_head()
        is_whole = request is not None and self._read_body(request)
        if self._position == len(self._data):
            self._data = b""
            self._position = 0
        if not is_whole:
            self._request = request
            return None
        self._request = self._latest_head = None
        self._head_bytes = 0
        return request

    def _read_head(self) -> Request | None:
        if self._open_head is None:
            if self._data[self._position] in b"\r\n" and not self._skip_empty_lines():
                return None
            head = _Head()
            self._latest_head = None
            self._open_head = head, httptools.HttpRequestParser(head)
        head, llhttp = self._open_head
        end = self._find_head_end()
        piece = self._data[self._position : end]
        self._position += len(piece)
        self._head_bytes += len(piece)
        head.lines += piece.count(b"\n")
        limits = self._limits
        if self._head_bytes > limits.head_bytes or head.lines > limits.head_fields + _OTHER_LINES:
            raise HeadTooLarge(limits.head_bytes, limits.head_fields)
        try:
            llhttp.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # llhttp takes the bytes after the head for another protocol, but gets none.
        except httptools.HttpParserError as error:
            raise RequestMalformed(str(error)) from error
        if head.ends != (end is not None):
            raise RequestMalformed("the head ends in more than one place")
        if end is None:
            self._head_tail = (self._head_tail + piece)[-3:]
            return None
        self._open_head = None
        self._head_tail = b""
        self._latest_head = head
        return self._finish_head(head, llhttp)

    def _skip_empty_lines(self) -> bool:
        """Skip empty lines before a request (RFC 9112, section 2.2), and tell if bytes follow.

        They count towards the limit of the head.
        """
        end = cast(re.Match[bytes], _EMPTY_LINES.match(self._data, self._position)).end()
        self._head_bytes += end - self._position
        self._position = end
        if self._head_bytes > self._limits.head_bytes:
            raise HeadTooLarge(self._limits.head_bytes, self._limits.head_fields)
        return end < len(self._data)

    def _find_head_end(self) -> int | None:
        """Find the end of the empty line, which may have begun in earlier data."""
        start = self._position
        tail = self._head_tail
        if tail:
            found = (tail + self._data[start : start + 3]).find(_HEAD_END)
            if found != -1:
                return start + found + len(_HEAD_END) - len(tail)
        found = self._data.find(_HEAD_END, start)
        return None if found == -1 else found + len(_HEAD_END)

    def _finish_head(self, head: _Head, llhttp: httptools.HttpRequestParser) -> Request:
        """Determine the framing of the body."""
        version = llhttp.get_http_version()
        method = llhttp.get_method().decode("ascii")
        if version not in ("1.0", "1.1") or method == "CONNECT":
            raise RequestMalformed(f"{method} with HTTP/{version} is not supported")
        limit_bytes = self._find_body_limit(split_target(head.target).path)
        length = head.headers.get(b"content-length")
        coding = head.headers.get(b"transfer-encoding")
        self._length = 0
        self._chunks = None
        if coding is not None:
            if length is not None or coding.lower() != b"chunked" or version == "1.0":
                raise RequestMalformed("the transfer encoding is not chunked alone")
            self._chunks = ChunkedBody(limit_bytes)
        elif length is not None:
            if not length.isdigit() or len(length) > _LENGTH_DIGITS:
                raise RequestMalformed("the content length is not a number")
            self._length = int(length)
            if self._length > limit_bytes:
                raise BodyTooLarge(limit_bytes)
        connection = head.headers.get(b"connection")
        keep_alive = version == "1.1" and (
            connection is None
            or b"close" not in (option.strip() for option in connection.lower().split(b","))
        )
        return Request(method, head.target, version, head.headers, b"", keep_alive)

    def _read_body(self, request: Request) -> bool:
        """Read the body, and tell whether it is whole."""
        if self._chunks is not None:
            self._position = self._chunks.feed(self._data, self._position)
            if not self._chunks.is_complete:
                return False
            request.body = bytes(self._chunks.content)
            self._chunks = None
            return True
        piece = self._data[self._position : self._position + self._length - len(self._body)]
        self._position += len(piece)
        if not self._body and len(piece) == self._length:
            request.body = piece
            return True
        self._body += piece
        if len(self._body) < self._length:
            return False
        request.body = bytes(self._body)
        self._body = bytearray()
        return True
