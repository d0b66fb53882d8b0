"""FastAPI, with the endpoints for events in front of its machinery."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.refusals import error_response
from app.api.request_body import EVENT_BYTES
from app.api.services import Services
from app.domain.errors import RequestRejected

SendResponse = Callable[[int, tuple[tuple[bytes, bytes], ...], bytes], None]
"""Takes a response: status, headers without its length, body."""

FastPath = Callable[[Services, dict[bytes, bytes], bytes, SendResponse], bool]
"""`EventEndpoint.try_fast_path`."""


class Application(FastAPI):
    """Hands a POST to some paths straight to their endpoints.

    FastAPI's middleware and routing cost a request as much as verifying and validating an event
    do. The paths are routes as well, for every other method and for other servers.

    Args:
        bypass_endpoints: ASGI endpoints that answer their own errors, by path.
        fast_path: a path of them, and the function that `app.server` may call for it.
        body_limits: the most bytes of a body, by path; for every other path, those of an event.
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
        for path, endpoint in bypass_endpoints.items():
            self.router.routes.append(Route(path, endpoint, methods=["POST"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._bypass_endpoints.get(scope["path"])
            if endpoint is not None:
                scope["app"] = self
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def find_body_limit(self, path: str) -> int:
        """Give the most bytes that the body of a request to a path may have."""
        return self._body_limits.get(path, EVENT_BYTES)

    def refuse(self, error: RequestRejected) -> Response:
        """Make the response to what the server could not read as a request."""
        services = cast(Services, self.state.services)
        return error_response(services.measurements, "a request", error)
