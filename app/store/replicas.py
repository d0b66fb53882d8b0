"""One relay among those that share a PostgreSQL store."""

from typing import Final

from sqlalchemy import Engine

from app.store.notifications import Handler, Listener, Pooler
from app.store.query_pool import QueryPool

# Notifications arrive at once; polling finds those that were missed.
_POLL_SECONDS_WITH_NOTIFICATIONS: Final = 5.0
_POLL_SECONDS: Final = 0.25


class Replicas:
    """The lease and the notifications between replicas.

    Attributes:
        run: runs a query of `app.store.lease`, in a thread of its own: the lease must be renewed
            however long other queries take.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.run = QueryPool(engine, "store-replica", 1)
        self._listener: Listener | None = None

    def listen(self, pooler: Pooler, handler: Handler) -> None:
        """Call the handler for each notification, if the database's connections allow it.

        Without notifications, poll every `poll_seconds` for the work of other replicas.
        """
        if pooler is not Pooler.TRANSACTION:
            self._listener = Listener(self._engine.url, handler)

    async def close(self) -> None:
        """Stop listening and end the thread."""
        if self._listener is not None:
            await self._listener.close()
        self.run.close()

    @property
    def poll_seconds(self) -> float:
        """How often to poll for the work of other replicas."""
        is_listening = self._listener is not None and self._listener.is_listening
        return _POLL_SECONDS_WITH_NOTIFICATIONS if is_listening else _POLL_SECONDS
