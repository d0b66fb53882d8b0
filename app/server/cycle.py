"""Runs the ASGI application for one request that has arrived whole."""

import asyncio
import logging
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

from app.api.problems import internal_error
from app.server.responses import Headers

logger = logging.getLogger(__name__)


class Responder(Protocol):
    """The connection that a request came by."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""

    async def stream(
        self, head: tuple[int, Headers] | None, chunk: bytes, *, is_last: bool
    ) -> None:
        """Send a part of a response, with its head the first time."""

    def abort(self) -> None:
        """Cut the connection: the response cannot be completed."""


class RequestCycle:
    """One request and its response, by the ASGI specification 2.3.

    Args:
        scope: of the request.
        body: all of it.
        responder: takes the response.
    """

    def __init__(self, scope: Scope, body: bytes, responder: Responder) -> None:
        self._scope = scope
        self._body: bytes | None = body
        self._responder = responder
        self._status = 0
        self._headers: Headers = ()
        self._is_streaming = False
        self._is_complete = False
        self._is_disconnected = False
        self._end = asyncio.Event()

    async def run(self, app: ASGIApp) -> None:
        """Call the application, and respond in its place if it fails."""
        try:
            await app(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._responder.abort()
            raise
        except Exception:
            logger.exception("%s %s failed", self._scope["method"], self._scope["path"])
            self._fail()
        else:
            if not self._is_complete and not self._is_disconnected:
                logger.error("%s was not answered in full", self._scope["path"])
                self._fail()

    def disconnect(self) -> None:
        """Note that the client is gone."""
        self._is_disconnected = True
        self._end.set()

    def _fail(self) -> None:
        if self._is_complete or self._is_disconnected:
            return
        if self._is_streaming:
            self._responder.abort()
            return
        self._is_complete = True
        response = internal_error()
        self._responder.respond(500, tuple(response.raw_headers), bytes(response.body))

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
            raise RuntimeError(f"{message['type']} is not due")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if is_last and not self._is_streaming:
            self._responder.respond(self._status, self._headers, body)
        else:
            head = None if self._is_streaming else (self._status, self._headers)
            await self._responder.stream(head, body, is_last=is_last)
            self._is_streaming = True
        if is_last:
            self._is_complete = True
            self._end.set()
