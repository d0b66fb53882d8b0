"""FastAPI, with the endpoints for events in front of its routing."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import error_response
from app.api.request_body import EVENT_BYTES, read_headers
from app.api.request_trace import Headers, read_trace
from app.api.services import Services
from app.api.webhook_log import WebhookRequest
from app.domain.errors import RequestRejected

SendResponse = Callable[[int, Headers, bytes, Headers], None]
"""Sends a response: status, headers without the content length, body, headers of this one alone."""

FastPath = Callable[[Services, dict[bytes, bytes], bytes, object, SendResponse], bool]
"""`EventEndpoint.try_fast_path`."""


class Application(FastAPI):
    """Routes POST requests of some paths straight to their endpoints.

    FastAPI's middleware and routing take as long as verifying and validating an event.

    Args:
        bypass_endpoints: ASGI endpoints that handle their own errors, by path.
        fast_path: the path and function of the fast path.
        body_limits: limits of bodies in bytes, by path; the default is that of an event.
        options: of FastAPI.
    """

    def __init__(
        self,
        *,
        bypass_endpoints: Mapping[str, ASGIApp],
        fast_path: tuple[str, FastPath],
        body_limits: Mapping[str, int],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        path, self.try_fast_path = fast_path
        self.fast_path_target = path.encode()
        self._bypass_endpoints = bypass_endpoints
        self._body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"] in self._bypass_endpoints:
            if scope["method"] == "POST":
                scope["app"] = self
                await self._bypass_endpoints[scope["path"]](scope, receive, send)
                return
            send = _add_headers(send, read_trace(read_headers(scope)).response_headers)
        await super().__call__(scope, receive, send)

    def find_body_limit(self, path: str) -> int:
        """Return the limit of a request body in bytes."""
        return self._body_limits.get(path, EVENT_BYTES)

    def reject(
        self,
        error: RequestRejected,
        *,
        target: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
        client: object = None,
    ) -> Response:
        """Make the response to a request that the server cannot read.

        Args:
            target: of the request, if its head could be read.
            headers: of the request, if its head could be read.
            client: the address and the port of the peer.
        """
        services = cast(Services, self.state.services)
        path = target.partition(b"?")[0].decode("latin-1")
        known_path = path if path in self._bypass_endpoints else None
        began_at = services.webhook_log.monotonic()
        request = WebhookRequest(known_path, headers or {}, client, began_at)
        services.webhook_log.note_error(request, error)
        response = error_response(services.measurements, "a request", error)
        response.raw_headers.extend(request.trace.response_headers)
        return response


def _add_headers(send: Send, headers: Headers) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_with_headers
