"""`relay serve`: run the relay in this process."""

import gc
import logging
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Annotated, Final

import typer

from app.api.health import VERSION
from app.cli.errors import CommandFailed
from app.cli.failpoints import VARIABLE, arm_failpoint
from app.main import create_app
from app.observability.logging import configure_logging
from app.observability.trace_environment import open_tracer
from app.relay.leadership import name_replica
from app.server.connections import bound_connections
from app.server.limits import Limits
from app.server.server import RelayServer, bind_sockets, describe_bind_error, write_address
from app.settings import Settings, read_settings
from app.store.schema_upgrade import upgrade_store

logger = logging.getLogger(__name__)

# To release the lease and close the store, after SHUTDOWN_SECONDS.
_CLOSE_SECONDS: Final = 1
# A commit releases the interpreter at every call into SQLite: with Python's 5 ms, a flood of
# requests delays commits by seconds.
_SWITCH_SECONDS: Final = 0.0001


class _Server(RelayServer):
    """Logs its addresses, exempts start-up objects from garbage collection, bounds its stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; during the start at once, like `app.cli.entry_point` before it."""
        if not self.started:
            os._exit(0)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        gc.collect()
        gc.freeze()
        for server in self.servers:
            for listener in server.sockets:
                logger.info("listening on %s", write_address(listener))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop gracefully, or abruptly if that hangs."""
        seconds = (self.config.timeout_graceful_shutdown or 0) + _CLOSE_SECONDS
        limit = threading.Timer(seconds, _abandon)
        limit.daemon = True
        limit.start()
        await super().shutdown(sockets)


def _abandon() -> None:
    logger.error("the stop took too long and was cut short; what was acknowledged is stored")
    os._exit(1)


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Listen here instead of HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="Listen here instead of PORT.")
    ] = None,
) -> None:
    """Run the relay until SIGTERM or Ctrl-C.

    Settings come from the environment and from .env; .env.example explains each.

    Examples:
      relay serve --port 8080
    """
    settings = read_settings(Settings)
    configure_logging(level=settings.log_level, format_name=settings.log_format)
    sys.setswitchinterval(_SWITCH_SECONDS)
    hit = arm_failpoint(os.environ.get(VARIABLE))
    tracer = open_tracer(os.environ, version=VERSION, replica=name_replica())
    app = create_app(settings, hit=hit, tracer=tracer)
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    try:
        sockets = bind_sockets(host, port)
    except OSError as error:
        raise CommandFailed(describe_bind_error(host, port, error)) from error
    # Before the server starts, so that a store that cannot be opened is one sentence. In a thread:
    # the main thread handles signals only between its own bytecodes.
    with ThreadPoolExecutor(1) as thread:
        migration = thread.submit(upgrade_store, settings.store_url, hit=hit)
        before, after = migration.result()
    if before != after:
        logger.info("migrated the store from revision %s to %s", before, after)
    server = _Server(
        app,
        limits=Limits(connections=bound_connections(settings.max_connections)),
        shutdown_seconds=settings.shutdown_seconds,
    )
    # After the stop, uvicorn raises the signal again: the entry point's handler exits with 0.
    server.run(sockets)
    if not server.started:
        raise typer.Exit(1)
