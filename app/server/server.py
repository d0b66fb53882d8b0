"""uvicorn's server with the relay's protocol and limits."""

import socket
from functools import partial
from typing import Any, cast

import uvicorn

from app.api.application import Application
from app.api.services import Services
from app.server.connection_metrics import ConnectionMetrics
from app.server.connections import Connections
from app.server.limits import Limits
from app.server.protocol import RelayProtocol
from app.server.request_queue import RequestQueue


class RelayServer(uvicorn.Server):
    """Serves one relay over HTTP/1.1."""

    protocol_class = RelayProtocol

    def __init__(
        self, app: Application, *, limits: Limits, shutdown_seconds: int, **options: Any
    ) -> None:
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
                # Nothing depends on the client's address.
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


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind one socket to each address of a host.

    Connections are refused until the server listens.

    Raises:
        OSError: not every address can be bound; `describe_bind_error` says why.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sockets.append(socket.socket(family, kind, protocol))
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sockets[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sockets[-1].bind(address)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def write_address(listener: socket.socket) -> str:
    """Return the URL that a socket listens at."""
    host, port = listener.getsockname()[:2]
    return (
        f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
    )


def describe_bind_error(host: str, port: int, error: OSError) -> str:
    """Say why the relay cannot listen, and what to do."""
    reason = (error.strerror or "the name is unknown").lower()
    return f"cannot listen on {host}, port {port}: {reason}; check HOST and PORT"
