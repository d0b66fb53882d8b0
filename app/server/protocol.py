"""uvicorn's HTTP protocol: one connection, its bounds, and the fast path.

Requests are read whole and one at a time: the next one begins after the response. Further bytes
stay in the socket until then. A complete `POST /webhooks` is offered to the fast path. Everything
else, and every request that the fast path declines, runs as an ASGI request.

Of uvicorn this uses the arguments of a protocol and three attributes of `ServerState`, which
`app.server.server` checks at start.
"""

import asyncio
from typing import Any, cast

from starlette.types import Scope
from uvicorn import Config
from uvicorn.server import ServerState

from app.api.application import Application
from app.api.services import Services
from app.domain.errors import BodyTooSlow, HeadTooSlow, RequestRejected
from app.server.connections import Connections
from app.server.cycle import RequestCycle
from app.server.request_parser import Request, RequestParser, Stage, split_target
from app.server.request_queue import RequestQueue
from app.server.responses import (
    CHUNKED,
    CLOSE,
    CONTINUE,
    LAST_CHUNK,
    Headers,
    encode_chunk,
    encode_head,
    encode_response,
)


class RelayProtocol(asyncio.BufferedProtocol):
    """One connection.

    Args:
        config: of the server.
        server_state: what the server keeps of its connections and tasks.
        app_state: what the lifespan has put into the state of every request.
        _loop: of the server.
        app: answers the requests.
        connections: all of them, with their limits.
        queue: of requests on the regular path.
    """

    def __init__(
        self,
        config: Config,  # noqa: ARG002 - uvicorn names it
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        app: Application,
        connections: Connections,
        queue: RequestQueue,
    ) -> None:
        self.is_trusted = False
        self.held_bytes = 0
        self.deadline = 0.0
        self._app = app
        self._app_state = app_state
        self._server_state = server_state
        # uvicorn names its own protocols only.
        self._peers = cast(set[Any], server_state.connections)
        self._connections = connections
        self._queue = queue
        self._limits = connections.limits
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self._limits, app.find_body_limit)
        self._stage: Stage | None = None
        self._request: Request | None = None
        self._cycle: RequestCycle | None = None
        self._transport = cast(asyncio.Transport, None)
        self._is_reading = True
        self._is_stopping = False
        self._is_closing = False
        self._writable = asyncio.Event()
        self._writable.set()

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        self._services = cast(Services, self._app.state.services)
        self._peers.add(self)
        self._set_deadline(self._limits.idle_seconds)
        self._connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - of the interface
        """Give the buffer to read into: all connections share it, as it is copied at once."""
        return self._connections.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read a request, or stop reading while the current one has no response."""
        if self._is_closing:
            return
        self._parser.feed(bytes(self._connections.read_buffer[:nbytes]))
        if self._request is None and self._writable.is_set():
            self._advance()
            return
        self._pause_reading()
        if self._request is None:
            self._wait_for_reader()

    def pause_writing(self) -> None:
        """Begin no other request: the client does not read its answers."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Begin the next request, if one has arrived in the meantime."""
        self._writable.set()
        if self._request is None and not self._is_closing:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the interface
        """Tell the application that the client is gone."""
        self._is_closing = True
        self._connections.remove(self)
        self._peers.discard(self)
        self._writable.set()
        if self._cycle is not None:
            self._cycle.disconnect()

    # --- called by the server and by `Connections` ---

    def shutdown(self) -> None:
        """Stop: a request whose head has arrived is still answered."""
        self._is_stopping = True
        if self._request is not None:
            self._request.keep_alive = False
        elif self._parser.stage is not Stage.BODY:
            self._close()

    def time_out(self) -> None:
        """End a wait whose deadline has passed."""
        match self._stage:
            case Stage.HEAD:
                self._refuse(HeadTooSlow(self._limits.head_seconds))
            case Stage.BODY:
                self._refuse(BodyTooSlow(self._limits.body_seconds))
            case Stage.START:
                self._close()
            case None:
                # The client does not read its answers, or does not close what has ended.
                self.abort()

    def abort(self) -> None:
        """Close at once, with no answer."""
        self._is_closing = True
        self._transport.abort()

    # --- called with the response to a request ---

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the response to the current request, and begin the next one."""
        if self._transport.is_closing():
            self._finish()
            return
        request = cast(Request, self._request)
        # Every POST is authenticated.
        self.is_trusted |= status < 300 and request.method == "POST"
        self._transport.write(
            encode_response(
                status,
                (*self._server_state.default_headers, *headers),
                body,
                is_head=request.method == "HEAD",
                is_last=not request.keep_alive,
            )
        )
        self._finish()

    async def stream(
        self, head: tuple[int, Headers] | None, chunk: bytes, *, is_last: bool
    ) -> None:
        """Send a part of the response to the current request.

        In chunks; to HTTP/1.0 as it is, until the connection ends.
        """
        await self._writable.wait()
        if self._transport.is_closing():
            self._finish()
            return
        request = cast(Request, self._request)
        is_chunked = request.version == "1.1"
        if head is not None:
            status, headers = head
            framing: Headers = (CHUNKED,) if is_chunked else ()
            if not request.keep_alive:
                framing = (*framing, CLOSE)
            headers = (*self._server_state.default_headers, *headers)
            self._transport.write(encode_head(status, headers, framing))
        if request.method != "HEAD":
            self._transport.write(encode_chunk(chunk) if is_chunked else chunk)
            if is_last and is_chunked:
                self._transport.write(LAST_CHUNK)
        if is_last:
            self._finish()

    # --- one request after another ---

    def _advance(self) -> None:
        """Begin the next request, or wait for its rest."""
        try:
            request = self._parser.read()
        except RequestRejected as error:
            self._refuse(error)
            return
        if request is not None:
            self._begin(request)
            return
        self._resume_reading()
        self._wait_for_client()

    def _begin(self, request: Request) -> None:
        self._connections.end_wait(self)
        self._stage = None
        self._request = request
        if self._is_stopping:
            request.keep_alive = False
        app = self._app
        if (
            request.target == app.fast_path_target
            and request.method == "POST"
            and app.try_fast_path(self._services, request.headers, request.body, self.respond)
        ):
            return
        self._queue.put(self._begin_cycle)

    def _begin_cycle(self) -> None:
        if self._is_closing:
            return
        request = cast(Request, self._request)
        self._cycle = RequestCycle(self._make_scope(request), request.body, self)
        task = self._loop.create_task(self._cycle.run(self._app))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def _finish(self) -> None:
        """End the current request: begin the next one, or close."""
        request = self._request
        self._request = None
        self._cycle = None
        if request is None or self._is_closing:
            return
        if not request.keep_alive:
            self._close()
        elif self._writable.is_set():
            self._advance()
        else:
            self._set_deadline(self._limits.idle_seconds)
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        """Wait until the client reads its answers."""
        self.held_bytes = self._parser.held_bytes + self._transport.get_write_buffer_size()
        self._connections.hold(self)

    def _wait_for_client(self) -> None:
        """Wait for a request or its rest, until a deadline that only progress moves."""
        stage = self._parser.stage
        if stage is self._stage:
            self.held_bytes = self._parser.held_bytes
            self._connections.hold(self)
            return
        self._stage = stage
        if stage is Stage.START:
            self.held_bytes = 0
            self._set_deadline(self._limits.idle_seconds)
        else:
            self.held_bytes = self._parser.held_bytes
            if stage is Stage.HEAD:
                self._set_deadline(self._limits.head_seconds)
            else:
                self._set_deadline(self._limits.body_seconds)
                if self._parser.expects_continue():
                    self._transport.write(CONTINUE)
        self._connections.wait(self)

    def _refuse(self, error: RequestRejected) -> None:
        """Send the response to bytes that are not an acceptable request, and close.

        Further bytes are dropped for a while: closing at once would reset the connection, and the
        client would lose the response.
        """
        if self._transport.is_closing():
            return
        response = self._app.reject(error)
        self._transport.write(
            encode_response(
                response.status_code,
                (*self._server_state.default_headers, *response.raw_headers),
                bytes(response.body),
                is_head=False,
                is_last=True,
            )
        )
        self._transport.write_eof()
        self._resume_reading()
        self._linger()

    def _close(self) -> None:
        """Close when everything is written."""
        self._transport.close()
        self._linger()

    def _linger(self) -> None:
        """Cut the connection if it does not end by itself soon."""
        self._is_closing = True
        self._stage = None
        self.held_bytes = self._transport.get_write_buffer_size()
        self._set_deadline(self._limits.linger_seconds)
        self._connections.wait(self)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._loop.time() + seconds

    def _pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def _make_scope(self, request: Request) -> Scope:
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
            "client": self._transport.get_extra_info("peername"),
            "server": self._transport.get_extra_info("sockname"),
            "state": self._app_state.copy(),
        }
