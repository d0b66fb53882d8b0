"""One connection: reads requests, and takes the fast path or the regular path.

Reads whole requests, one at a time; further bytes stay in the socket until the response. Offers a
whole `POST /webhooks` to the fast path. Runs every other request, and those that the fast path
declines, as ASGI requests.

The constructor and `ServerState` are the interface of the uvicorn that pyproject.toml names.
"""

import asyncio
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState

from app.api.application import Application
from app.api.services import Services
from app.domain.errors import BodyTooSlow, HeadTooSlow, RequestRejected
from app.server import responses
from app.server.connections import Connections
from app.server.cycle import RequestCycle, make_scope
from app.server.event_stream import EventStream
from app.server.request_parser import Request, RequestParser, Stage
from app.server.request_queue import RequestQueue
from app.server.responses import Headers


class RelayProtocol(asyncio.BufferedProtocol):
    """One connection.

    Attributes:
        is_trusted: whether it delivered an authentic request.
        held_bytes: its memory while it waits for the client.
        deadline: of the wait, by the event loop's clock.
    """

    def __init__(
        self,
        config: Config,  # noqa: ARG002 - of uvicorn's interface
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
        self._peers = cast(set[Any], server_state.connections)
        self._connections = connections
        self._queue = queue
        self._limits = connections.limits
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self._limits, app.find_body_limit)
        self._stage: Stage | None = None
        self._request: Request | None = None
        self._cycle: RequestCycle | None = None
        self._stream: EventStream | None = None
        self._transport = cast(asyncio.Transport, None)
        self._is_reading = self._is_writable = True
        self._is_stopping = self._is_closing = False

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._client = transport.get_extra_info("peername")
        self._services = cast(Services, self._app.state.services)
        self._peers.add(self)
        self._set_deadline(self._limits.idle_seconds)
        self._connections.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - of the interface
        """Return the buffer to read into. All connections share it, as `buffer_updated` copies."""
        return self._connections.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read the next request, or pause reading while one is in flight."""
        if self._is_closing:
            return
        self._parser.feed(bytes(self._connections.read_buffer[:nbytes]))
        if self._request is None and self._is_writable:
            self._advance()
            return
        self._pause_reading()
        if self._request is None:
            self._wait_for_reader()

    def pause_writing(self) -> None:
        """Begin no request and send no part while the client does not read its responses."""
        self._is_writable = False
        if self._stream is not None:
            self._stream.pause()
            self._set_deadline(self._limits.idle_seconds)
            self._wait_for_reader()

    def resume_writing(self) -> None:
        """Send the next part, or begin the next request, if it has arrived."""
        self._is_writable = True
        if self._stream is not None:
            self._connections.end_wait(self)
            self._stream.resume()
        elif self._request is None and not self._is_closing:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the interface
        """Tell the application that the client has disconnected."""
        self._is_closing = True
        self._connections.remove(self)
        self._peers.discard(self)
        if self._cycle is not None:
            self._cycle.disconnect()

    # Called by the server and by `Connections`

    def shutdown(self) -> None:
        """Close, after the response to a request whose head has arrived; end a stream at once."""
        self._is_stopping = True
        if self._stream is not None:
            self.end_stream()
        elif self._request is not None:
            self._request.keep_alive = False
        elif self._parser.stage is not Stage.BODY:
            self._close()

    def time_out(self) -> None:
        """End the wait, as its deadline has passed."""
        match self._stage:
            case Stage.HEAD:
                self._reject(HeadTooSlow(self._limits.head_seconds))
            case Stage.BODY:
                self._reject(BodyTooSlow(self._limits.body_seconds))
            case Stage.START:
                self._close()
            case None:
                self.abort()  # The client does not read its responses, or does not close.

    def abort(self) -> None:
        """Close at once, without a response."""
        self._is_closing = True
        self._transport.abort()

    # Called with responses

    def respond(
        self, status: int, headers: Headers, body: bytes, own_headers: Headers = ()
    ) -> None:
        """Send a whole response, and begin the next request."""
        if self._transport.is_closing():
            self._finish()
            return
        request = cast(Request, self._request)
        # Every successful POST is authenticated.
        self.is_trusted |= status < 300 and request.method == "POST"
        is_head, is_last = request.method == "HEAD", not request.keep_alive
        headers = (*self._server_state.default_headers, *headers)
        response = responses.encode_response(
            status, headers, body, own_headers, is_head=is_head, is_last=is_last
        )
        self._transport.write(response)
        self._finish()

    def begin_stream(self, status: int, headers: Headers) -> EventStream:
        """Begin an event stream, after which the connection is closed."""
        request = cast(Request, self._request)
        request.keep_alive = False
        self._stream = stream = EventStream(self._transport, request)
        stream.begin(status, (*self._server_state.default_headers, *headers))
        if request.method == "HEAD" or self._is_stopping:
            self.end_stream()
        return stream

    def end_stream(self) -> None:
        """End the event stream, and tell the application if it has not ended it."""
        cast(EventStream, self._stream).end()
        cast(RequestCycle, self._cycle).disconnect()
        self._finish()

    # Requests

    def _advance(self) -> None:
        """Begin the next request, or wait for the rest of it."""
        try:
            request = self._parser.read()
        except RequestRejected as error:
            self._reject(error)
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
        app, headers, body = self._app, request.headers, request.body
        is_event = request.method == "POST" and request.target == app.fast_path_target
        if is_event and app.try_fast_path(
            self._services, headers, body, self._client, self.respond
        ):
            return
        self._queue.put(self._begin_cycle)

    def _begin_cycle(self) -> None:
        if self._is_closing:
            return
        request = cast(Request, self._request)
        scope = make_scope(request, self._transport, self._app_state)
        self._cycle = RequestCycle(scope, request.body, self)
        self._cycle.start(self._app, self._server_state.tasks)

    def _finish(self) -> None:
        """End the request in flight; begin the next one, or close."""
        request, self._request = self._request, None
        self._cycle = self._stream = None
        if request is None or self._is_closing:
            return
        if not request.keep_alive:
            self._close()
        elif self._is_writable:
            self._advance()
        else:
            self._set_deadline(self._limits.idle_seconds)
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        """Wait until the client reads its responses."""
        self.held_bytes = self._parser.held_bytes + self._transport.get_write_buffer_size()
        self._connections.hold(self)

    def _wait_for_client(self) -> None:
        """Wait for a request or the rest of one. Only the next stage moves the deadline."""
        stage = self._parser.stage
        self.held_bytes = 0 if stage is Stage.START else self._parser.held_bytes
        if stage is self._stage:
            self._connections.hold(self)
            return
        self._stage = stage
        if stage is Stage.START:
            self._set_deadline(self._limits.idle_seconds)
        elif stage is Stage.HEAD:
            self._set_deadline(self._limits.head_seconds)
        else:
            self._set_deadline(self._limits.body_seconds)
            if self._parser.expects_continue():
                self._transport.write(responses.CONTINUE)
        self._connections.wait(self)

    def _reject(self, error: RequestRejected) -> None:
        """Respond to an unacceptable request, and close.

        Closing at once would reset the connection, and the client could lose the response.
        """
        if self._transport.is_closing():
            return
        target, fields = self._parser.head or (b"", {})
        response = self._app.reject(error, target=target, headers=fields, client=self._client)
        headers = (*self._server_state.default_headers, *response.raw_headers)
        status, body = response.status_code, bytes(response.body)
        encoded = responses.encode_response(status, headers, body, is_head=False, is_last=True)
        self._transport.write(encoded)
        self._transport.write_eof()
        self._resume_reading()
        self._linger()

    def _close(self) -> None:
        """Close after writing the responses."""
        self._transport.close()
        self._linger()

    def _linger(self) -> None:
        """Abort the connection unless the client closes it soon."""
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
