"""A span for each request, except webhooks, which have their own, and the probes of monitoring."""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.request_body import read_headers
from app.domain.instants import from_seconds
from app.domain.traces import Tracer

_UNTRACED: Final = frozenset(("/health", "/health/live", "/health/ready", "/metrics"))
_INTERNAL_ERROR: Final = 500


class RequestSpans:
    """Middleware: names a request by its route, as its path and query may hold ids.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, app: ASGIApp, *, tracer: Tracer, clock: Callable[[], float]) -> None:
        self._app = app
        self._tracer = tracer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        span = self._tracer.start_request(
            scope["method"], read_headers(scope), from_seconds(self._clock())
        )
        status = _INTERNAL_ERROR

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = scope.get("route")
            span.end(
                from_seconds(self._clock()),
                status=status,
                route=None if route is None else route.path,
                attributes={},
            )
