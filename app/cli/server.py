"""What `relay serve` runs: the relay, in this process."""

import gc
import logging
import os
import signal
import socket

import typer
import uvicorn

from app.api.protocol import ShortWayProtocol
from app.cli.failpoints import VARIABLE, arm_failpoint
from app.main import create_app
from app.settings import Settings, read_settings
from app.store.migrating import migrate_store
from app.telemetry import configure_logging

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Says where it listens, and spares the collector what lives for ever."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        gc.collect()
        gc.freeze()
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                logger.info("listening on http://%s:%d", host, port)


def run_server(*, host: str | None, port: int | None) -> None:
    """Run the relay until SIGTERM or Ctrl-C; HOST and PORT are used where None is given."""
    settings = read_settings(Settings)
    configure_logging(level=settings.log_level, format_name=settings.log_format)
    reach = arm_failpoint(os.environ.get(VARIABLE))
    app = create_app(settings, reach=reach)
    # Before the server starts, so that a store that cannot be opened is one sentence. The app looks
    # again when it opens it, which takes milliseconds where there is nothing to do.
    before, after = migrate_store(settings.store_url, reach=reach)
    if before != after:
        logger.info("migrated the store from revision %s to %s", before, after)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
            http=ShortWayProtocol,
            # Nothing here is a WebSocket: a request to become one is answered as any other.
            ws="none",
            log_config=None,
            access_log=False,
            # Nothing here depends on who the client was.
            proxy_headers=False,
            server_header=False,
            # What is still open when a stop begins gets this long to end.
            timeout_graceful_shutdown=settings.shutdown_seconds,
            timeout_keep_alive=75,
        )
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises the signal again when it has ended gracefully; then this ends with code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run()
    if not server.started:
        raise typer.Exit(1)
