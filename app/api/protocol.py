"""uvicorn's HTTP protocol, with a short way for an event that arrives whole.

For every request uvicorn writes a scope, makes a task and passes messages, which costs as much as
verifying, reading and storing an event do together. What is taken here needs none of them: nearly
every webhook comes in one piece, is signed and valid, and is answered by one write when its commit
returns. It is read by a parser of its own, the same as uvicorn's. Everything else goes to uvicorn
with all its bytes, as if this were not here.
"""

from asyncio import Event
from collections.abc import Sequence
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.api.application import Application


class _Piece:
    """What a parser finds in a piece of what came."""

    def __init__(self) -> None:
        self._clear()

    def take_request(self) -> tuple[dict[bytes, bytes], bytes] | None:
        """Give headers and body, and forget them; None unless it was one request, from end to end.

        Header names are in lower case; of a name sent twice, the last, as on the long way.
        """
        is_one = self._begun == self._completed == 1
        request = self._headers, bytes(self._body)
        self._clear()
        return request if is_one else None

    def _clear(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._begun = self._completed = 0

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._completed += 1


class _Taken:
    """A request on the short way, as uvicorn looks at the cycle of one on the long way."""

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True
        self.message_event = Event()


class ShortWayProtocol(HttpToolsProtocol):
    """Hands an event straight to its endpoint where uvicorn would start a task for the request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head: bytes | None = None
        # Where uvicorn counts requests, or they are for more than this application, it has the say.
        if (
            isinstance(self.app, Application)
            and not self.root_path
            and self.limit_concurrency is None
        ):
            self._head = b"POST %b HTTP/1.1\r\n" % self.app.short_way_path.encode()
        self._is_between_requests = True
        self._taken = _Taken()
        self._current: RequestResponseCycle | _Taken | None = None
        self._renew_parser()

    def data_received(self, data: bytes) -> None:
        """Take what came if it is an event and no more; all else is uvicorn's."""
        if (
            self._head is None
            or not self._is_between_requests
            or not data.startswith(self._head)
            or not self._take(data)
        ):
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Note that uvicorn's parser is in the middle of a request."""
        self._is_between_requests = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Note that what comes next begins a request."""
        super().on_message_complete()
        self._is_between_requests = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request whose turn it is; uvicorn tells only the one that came last."""
        if self._current is not None:
            self._current.disconnected = True
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _renew_parser(self) -> None:
        self._piece = _Piece()
        self._piece_parser = httptools.HttpRequestParser(self._piece)

    def _take(self, data: bytes) -> bool:
        last = cast(RequestResponseCycle | None, self.cycle)
        if last is not None and not last.response_complete:
            # Requests are answered in their order, and uvicorn keeps it.
            return False
        if self.flow.write_paused:
            # Who does not read his answers is held up there: here they would pile up.
            return False
        try:
            self._piece_parser.feed_data(data)
            request = self._piece.take_request()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            request = None
        if request is None:
            # The parser may have failed, or be in the middle of one.
            self._renew_parser()
            return False
        headers, body = request
        if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return False
        app = cast(Application, self.app)
        taken = self._taken
        taken.response_complete = False
        if not app.short_way(app.state.services, headers, body, self._answer):
            taken.response_complete = True
            return False
        self.cycle = cast(RequestResponseCycle, taken)
        self._current = taken
        self._unset_keepalive_if_required()
        return True

    def _answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        taken = self._taken
        taken.response_complete = True
        if taken.disconnected or self.transport.is_closing():
            return
        content = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            content += (name, b": ", value, b"\r\n")
        if not taken.keep_alive:
            content.append(b"connection: close\r\n")
        content += (b"\r\n", body)
        self.transport.write(b"".join(content))
        if not taken.keep_alive:
            self.transport.close()
        self.on_response_complete()
