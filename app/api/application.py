"""FastAPI, with the endpoints for events in front of its routing."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import error_response
from app.api.request_body import EVENT_BYTES
from app.api.services import Services
from app.domain.errors import RequestRejected

SendResponse = Callable[[int, tuple[tuple[bytes, bytes], ...], bytes], None]
"""Sends a response: status, headers without the content length, body."""

FastPath = Callable[[Services, dict[bytes, bytes], bytes, SendResponse], bool]
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
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._bypass_endpoints.get(scope["path"])
            if endpoint is not None:
                scope["app"] = self
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def find_body_limit(self, path: str) -> int:
        """Return the limit of a request body in bytes."""
        return self._body_limits.get(path, EVENT_BYTES)

    def reject(self, error: RequestRejected) -> Response:
        """Make the response to bytes that the server cannot read as a request."""
        services = cast(Services, self.state.services)
        return error_response(services.measurements, "a request", error)
