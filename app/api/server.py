"""uvicorn's server, which tells the application as soon as a stop begins."""

import socket
from typing import cast

import uvicorn

from app.api.application import Application
from app.api.services import Services


class RelayServer(uvicorn.Server):
    """Ends every `Prefer: wait` at the start of a stop.

    uvicorn shuts the lifespan down only after all open requests, and these would use up the time.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop gracefully."""
        services = cast(Services, cast(Application, self.config.app).state.services)
        services.begin_stop()
        await super().shutdown(sockets)
