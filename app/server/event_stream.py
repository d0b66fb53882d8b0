"""Sends an event stream, the one kind of response that is sent in parts.

The connection ends with the stream.
"""

import asyncio

from app.server import responses
from app.server.request_parser import Request
from app.server.responses import Headers


class EventStream:
    """An event stream to one client: chunked, or for HTTP/1.0 until the connection ends."""

    def __init__(self, transport: asyncio.Transport, request: Request) -> None:
        self._transport = transport
        self._is_chunked = request.version == "1.1" and request.method != "HEAD"
        self._can_write = asyncio.Event()
        self._can_write.set()

    def begin(self, status: int, headers: Headers) -> None:
        """Send the head."""
        self._write(responses.encode_stream_head(status, headers, is_chunked=self._is_chunked))

    async def send(self, part: bytes) -> None:
        """Send a part, once the client has read enough of the earlier ones."""
        await self._can_write.wait()
        if part:
            self._write(responses.encode_chunk(part) if self._is_chunked else part)

    def end(self) -> None:
        """Send the end, and no further part."""
        self.resume()
        if self._is_chunked:
            self._write(responses.LAST_CHUNK)

    def pause(self) -> None:
        """Hold further parts back."""
        self._can_write.clear()

    def resume(self) -> None:
        """Send the next part."""
        self._can_write.set()

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
