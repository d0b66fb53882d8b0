"""Decodes chunked bodies (RFC 9112, section 7.1), from segments of any size."""

import re
from enum import Enum, auto
from typing import Final

from app.domain.errors import BodyTooLarge, RequestMalformed

# A size, and extensions, which are ignored.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_LINE_LIMIT_BYTES: Final = 256
# Lines cost more time than their bytes: a body may have so many, and more with its content.
_LINES_LIMIT: Final = 1024
_CONTENT_BYTES_PER_LINE: Final = 256


class _Part(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    END = auto()


class ChunkedBody:
    """One body, without its trailer fields. `limit_bytes` applies to the decoded content."""

    def __init__(self, limit_bytes: int) -> None:
        self.content = bytearray()
        self._limit_bytes = limit_bytes
        self._part = _Part.SIZE
        self._line = bytearray()
        self._remaining = 0
        self._lines = 0

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has been read."""
        return self._part is _Part.END

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of the body has been read."""
        return self._part is _Part.SIZE and not self._line and not self.content

    def feed(self, data: bytes, start: int) -> int:
        """Read data from a position, and return the position after this body's bytes.

        Raises:
            BodyTooLarge: the content exceeds the limit.
            RequestMalformed: the framing is invalid.
        """
        position = start
        while position < len(data) and self._part is not _Part.END:
            if self._part is _Part.DATA:
                piece = data[position : position + self._remaining]
                self.content += piece
                self._remaining -= len(piece)
                position += len(piece)
                if self._remaining == 0:
                    self._part = _Part.DATA_END
            else:
                position = self._read_line(data, position)
        return position

    def _read_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position, position + _LINE_LIMIT_BYTES) + 1
        piece = data[position : end or position + _LINE_LIMIT_BYTES]
        self._line += piece
        if len(self._line) > _LINE_LIMIT_BYTES or (not end and len(piece) == _LINE_LIMIT_BYTES):
            raise RequestMalformed("a chunk size or trailer line is too long")
        if end:
            self._lines += 1
            if self._lines > _LINES_LIMIT + len(self.content) // _CONTENT_BYTES_PER_LINE:
                raise RequestMalformed("the chunks are too small, or the trailers too many")
            line = bytes(self._line)
            self._line.clear()
            if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
                raise RequestMalformed("a line between chunks does not end with CRLF")
            self._handle_line(line[:-2])
        return position + len(piece)

    def _handle_line(self, line: bytes) -> None:
        if self._part is _Part.SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise RequestMalformed("a chunk has no size")
            self._remaining = int(match[1], 16)
            if len(self.content) + self._remaining > self._limit_bytes:
                raise BodyTooLarge(self._limit_bytes)
            self._part = _Part.DATA if self._remaining else _Part.TRAILERS
        elif self._part is _Part.DATA_END:
            if line:
                raise RequestMalformed("a chunk is longer than its size")
            self._part = _Part.SIZE
        elif not line:
            self._part = _Part.END
