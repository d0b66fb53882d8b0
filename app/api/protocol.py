"""uvicorn's HTTP protocol, with a short way for an event that arrives whole.

A task, its messages and their coroutines cost a request as much as verifying, reading and storing
an event do together. What is taken here needs none of them: nearly every webhook comes in one
piece, is signed and valid, and is answered by one write when its commit returns. Everything else,
and every refusal, goes on as if this were not here.
"""

from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.api.application import Application
from app.api.services import Services


class ShortWayProtocol(HttpToolsProtocol):
    """Hands an event straight to its endpoint where uvicorn would start a task for the request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_receiving = False
        self._held: tuple[RequestResponseCycle, Any] | None = None
        self._current: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request whose turn it is; uvicorn tells only the one that came last."""
        if self._current is not None:
            self._current.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; what is not whole after it goes the long way."""
        self._is_receiving = True
        super().data_received(data)
        self._is_receiving = False
        if self._held is not None:
            (cycle, app), self._held = self._held, None
            if cycle.more_body or not self._take(cycle, app):
                super()._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        # At the end of the headers: the body may be in the same piece.
        if self._is_receiving and self._held is None and isinstance(app, Application):
            self._held = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def _take(self, cycle: RequestResponseCycle, app: Application) -> bool:
        scope = cycle.scope
        if scope["method"] != "POST" or scope["path"] != app.short_way_path:
            return False
        if self.flow.write_paused:
            # Who does not read his answers is held up there: here they would pile up.
            return False
        services = cast(Services, app.state.services)
        answer = partial(self._answer, cycle, cast(Any, app))
        return app.short_way(services, dict(scope["headers"]), bytes(cycle.body), answer)

    def _answer(
        self, cycle: RequestResponseCycle, app: Any, answer: tuple[int, bytes] | ASGIApp
    ) -> None:
        if not isinstance(answer, tuple):
            cast(Any, cycle.scope)["app"] = app
            super()._start_asgi_task(cycle, cast(Any, answer))
            return
        status, body = answer
        if cycle.disconnected or self.transport.is_closing():
            return
        content = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            content += (name, b": ", value, b"\r\n")
        content.append(b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body))
        if not cycle.keep_alive:
            content.append(b"connection: close\r\n")
        content += (b"\r\n", body)
        self.transport.write(b"".join(content))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
