"""Runs the ASGI application for one whole request."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Scope

from app.api.problems import internal_error
from app.server.request_parser import Request, split_target
from app.server.responses import Headers

if TYPE_CHECKING:
    from app.server.protocol import RelayProtocol

logger = logging.getLogger(__name__)


class RequestCycle:
    """One request and its response, by the ASGI specification 2.3. Parts of a body are joined."""

    def __init__(self, scope: Scope, body: bytes, connection: "RelayProtocol") -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._connection = connection
        self._status = 0
        self._headers: Headers = ()
        self._response_body = bytearray()
        self._is_complete = False
        self._is_disconnected = False
        self._end = asyncio.Event()

    async def run(self, app: ASGIApp) -> None:
        """Call the application, and send a 500 if it fails."""
        try:
            await app(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._connection.abort()
            raise
        except Exception:
            logger.exception("%s %s failed", self._scope["method"], self._scope["path"])
            self._fail()
        else:
            if not self._is_complete and not self._is_disconnected:
                logger.error("%s got an incomplete response", self._scope["path"])
                self._fail()

    def disconnect(self) -> None:
        """Tell the application that the client has disconnected."""
        self._is_disconnected = True
        self._end.set()

    def _fail(self) -> None:
        if self._is_complete or self._is_disconnected:
            return
        self._is_complete = True
        response = internal_error()
        self._connection.respond(500, tuple(response.raw_headers), bytes(response.body))

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._end.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._is_disconnected:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple((name, value) for name, value in message.get("headers", ()))
            return
        if self._is_complete or not self._status:
            raise RuntimeError(f"unexpected {message['type']}")
        self._response_body += message.get("body", b"")
        if not message.get("more_body", False):
            self._connection.respond(self._status, self._headers, bytes(self._response_body))
            self._is_complete = True
            self._end.set()


def make_scope(request: Request, transport: asyncio.Transport, state: dict[str, Any]) -> Scope:
    """Make the ASGI scope of a request."""
    target = split_target(request.target)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": request.method,
        "scheme": "http",
        "path": target.path,
        "raw_path": target.raw_path,
        "query_string": target.query,
        "root_path": "",
        "headers": list(request.headers.items()),
        "client": transport.get_extra_info("peername"),
        "server": transport.get_extra_info("sockname"),
        "state": state.copy(),
    }
