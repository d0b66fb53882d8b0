"""FastAPI, with what everything comes in through ahead of its machinery."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.services import Services

AtOnce = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], None]
"""Takes an answer: status, headers, body."""

ShortWay = Callable[[Services, dict[bytes, bytes], bytes, AtOnce], bool]
"""`EventEndpoint.take`."""


class Application(FastAPI):
    """Hands a POST to some paths straight to their endpoints.

    FastAPI's middleware and routing cost a request as much as verifying and validating an event
    do. The paths are routes as well, for every other method and for whoever mounts this elsewhere.

    Args:
        ahead: ASGI endpoints that answer their own errors, by path.
        short_way: of those, the path of the one that `app.api.protocol` may hand a request to.
        options: of FastAPI.
    """

    def __init__(
        self, *, ahead: Mapping[str, ASGIApp], short_way: tuple[str, ShortWay], **options: Any
    ) -> None:
        super().__init__(**options)
        self.short_way_path, self.short_way = short_way
        self._ahead = ahead
        for path, endpoint in ahead.items():
            self.router.routes.append(Route(path, endpoint, methods=["POST"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._ahead.get(scope["path"])
            if endpoint is not None:
                scope["app"] = self
                await endpoint(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
