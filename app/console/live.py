"""A part of a page that changes: computed once for all who watch it, sent when it has changed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from fastapi import Response
from fastapi.responses import StreamingResponse

from app.api.concurrency import ConcurrencyLimiter
from app.relay.single_flight import SingleFlight

INTERVAL_SECONDS: Final = 2.0
STREAMS: Final = 20
"""How many streams a relay serves; they hold no slot of a webhook."""

_HEARTBEAT_SECONDS: Final = 15.0
_COMPUTE_SECONDS: Final = 10.0
_END: Final = "event: end\ndata:\n\n"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # of nginx
    "X-Content-Type-Options": "nosniff",
}


class LiveFragment:
    """A fragment of HTML, and its streams.

    Args:
        compute: makes the fragment; its exceptions end the streams, but for a timeout.
        interval_seconds: how often.
    """

    def __init__(
        self,
        compute: Callable[[], Coroutine[Any, Any, str]],
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compute = compute
        self._compute_once = SingleFlight(self._compute_now, timeout_seconds=_COMPUTE_SECONDS)
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._html = ""
        self._computed_at: float | None = None
        self._streams = ConcurrencyLimiter(STREAMS)

    def respond(self, is_valid: Callable[[], bool]) -> Response:
        """Make the response that streams the fragment.

        Args:
            is_valid: whether the session is; the stream ends with it.
        """
        if not self._streams.try_acquire():
            return Response(
                f"{STREAMS} pages are live already; this one is not.",
                status_code=503,
                headers={**_HEADERS, "Retry-After": "30"},
                media_type="text/plain",
            )
        return _Stream(self.follow(is_valid), self._streams.release)

    async def follow(self, is_valid: Callable[[], bool]) -> AsyncIterator[str]:
        """Write the events of one stream."""
        sent, sent_at = "", self._monotonic()
        while is_valid():
            try:
                html = await self._read()
            except TimeoutError:  # the store stalls; the client keeps what it has
                html = sent
            now = self._monotonic()
            if html != sent:
                sent, sent_at = html, now
                yield _write_event(html)
            elif now - sent_at >= _HEARTBEAT_SECONDS:
                sent_at = now
                yield ":\n\n"
            await asyncio.sleep(self._interval_seconds)
        yield _END

    async def _read(self) -> str:
        """Return the fragment, at most one interval old."""
        if (
            self._computed_at is not None
            and self._monotonic() - self._computed_at < self._interval_seconds
        ):
            return self._html
        return await self._compute_once()

    async def _compute_now(self) -> str:
        self._html = await self._compute()
        self._computed_at = self._monotonic()
        return self._html


class _Stream(StreamingResponse):
    """An event stream that returns its slot, however it ends."""

    def __init__(self, events: AsyncIterator[str], release: Callable[[], None]) -> None:
        super().__init__(events, headers=_HEADERS, media_type="text/event-stream")
        self._release = release

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


def _write_event(html: str) -> str:
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"
