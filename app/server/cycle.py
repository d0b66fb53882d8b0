"""Runs the ASGI application for one whole request."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Scope

from app.api.problems import internal_error
from app.server.event_stream import EventStream
from app.server.request_parser import Request, split_target
from app.server.responses import Headers

if TYPE_CHECKING:
    from app.server.protocol import RelayProtocol

logger = logging.getLogger(__name__)


class RequestCycle:
    """One request and its response, by the ASGI specification 2.3.

    Parts of a body are joined, unless they are of an event stream.
    """

    def __init__(self, scope: Scope, body: bytes, connection: "RelayProtocol") -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._connection = connection
        self._status = 0
        self._headers: Headers = ()
        self._response_body = bytearray()
        self._stream: EventStream | None = None
        self._is_complete = False
        self._is_disconnected = False
        self._end = asyncio.Event()

    def start(self, app: ASGIApp, tasks: set[asyncio.Task[None]]) -> None:
        """Run in a task, which is one of the tasks while it runs."""
        task = asyncio.create_task(self._run(app))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _run(self, app: ASGIApp) -> None:
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
        if self._stream is not None:
            self._stream.resume()

    def _fail(self) -> None:
        if self._is_complete or self._is_disconnected:
            return
        if self._stream is not None:
            self._connection.abort()
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
        part, is_last = message.get("body", b""), not message.get("more_body", False)
        if _is_event_stream(self._headers):
            await self._send_part(part, is_last=is_last)
            return
        self._response_body += part
        if is_last:
            self._connection.respond(self._status, self._headers, bytes(self._response_body))
            self._is_complete = True
            self._end.set()

    async def _send_part(self, part: bytes, *, is_last: bool) -> None:
        if self._stream is None:
            self._stream = self._connection.begin_stream(self._status, self._headers)
        await self._stream.send(part)
        if is_last and not self._is_disconnected:
            self._is_complete = True
            self._connection.end_stream()


def _is_event_stream(headers: Headers) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in headers
    )


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
