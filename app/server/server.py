"""uvicorn's server as the relay runs it: with a protocol and bounds of its own."""

import socket
from functools import partial
from typing import Any, Final, cast

import uvicorn
from uvicorn.server import ServerState

from app.api.application import Application
from app.api.services import Services
from app.domain.errors import ConfigurationInvalid
from app.server.connection_metrics import ConnectionMetrics
from app.server.connections import Connections
from app.server.limits import Limits
from app.server.protocol import RelayProtocol
from app.server.request_queue import RequestQueue

_NEEDED_STATE: Final = ("connections", "tasks", "default_headers")


class RelayServer(uvicorn.Server):
    """Serves one relay over HTTP/1.1.

    Args:
        app: the relay.
        limits: of its connections.
        shutdown_seconds: how long open requests may take once a stop has begun.
        options: of `uvicorn.Config`.

    Raises:
        ConfigurationInvalid: this uvicorn lacks something that the protocol needs.
    """

    protocol_class = RelayProtocol

    def __init__(
        self, app: Application, *, limits: Limits, shutdown_seconds: int, **options: Any
    ) -> None:
        require_uvicorn()
        self._app = app
        self._connections = Connections(limits)
        protocol = partial(
            self.protocol_class, app=app, connections=self._connections, queue=RequestQueue()
        )
        super().__init__(
            uvicorn.Config(
                app,
                # uvicorn only calls it.
                http=cast(Any, protocol),
                ws="none",
                log_config=None,
                access_log=False,
                # Nothing here depends on who the client was.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=shutdown_seconds,
                **options,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen."""
        await super().startup(sockets)
        if self.started:
            self._services.measurements.registry.register(ConnectionMetrics(self._connections))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop gracefully.

        Waits for Supabase end first: uvicorn shuts the lifespan down only after all open requests,
        and these would use up the time.
        """
        self._services.begin_stop()
        await super().shutdown(sockets)

    @property
    def _services(self) -> Services:
        return cast(Services, self._app.state.services)


def require_uvicorn() -> None:
    """Check that uvicorn has what the protocol uses, before anything is served.

    Raises:
        ConfigurationInvalid: it has not. No other protocol takes its place: uvicorn's own has
            none of the bounds, and takes the body of an upgrade request for another request.
    """
    state = ServerState()
    missing = [name for name in _NEEDED_STATE if not hasattr(state, name)]
    if missing:
        raise ConfigurationInvalid(
            f"uvicorn {uvicorn.__version__} is not supported: its server state has no "
            f"{' and no '.join(missing)}. Install the version that uv.lock names."
        )
