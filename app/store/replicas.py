"""What relays that share a store tell each other: who dispatches, and what there is to do."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from app.store import leasing
from app.store.signals import LEASE, Handler, Listener, Pooler, notify
from app.store.write_session import WriteSession

T = TypeVar("T")

# Signals tell at once; looking is for those that were missed.
_POLL_SECONDS_WITH_SIGNALS: Final = 5.0
_POLL_SECONDS: Final = 0.25


class Run(Protocol):
    """Runs a query in a transaction of its own, beside the groups: it does not wait for them."""

    async def __call__(self, query: Callable[[Connection], T], /) -> T:
        """Give the query's result after its commit."""
        ...


class Replicas:
    """One relay among those that share a store."""

    def __init__(self, url: URL, run: Run) -> None:
        self._url = url
        self._run = run
        self._listener: Listener | None = None

    def listen(self, pooler: Pooler, handler: Handler) -> None:
        """Have what is signalled handled, where the database's connections allow it.

        Without signals, what others do is found by looking every `poll_seconds`.
        """
        if pooler is not Pooler.TRANSACTION:
            self._listener = Listener(self._url, handler)

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.close()

    @property
    def poll_seconds(self) -> float:
        """How often to look for what other replicas did."""
        is_told = self._listener is not None and self._listener.is_listening
        return _POLL_SECONDS_WITH_SIGNALS if is_told else _POLL_SECONDS

    async def signal(self, payload: str) -> None:
        """Tell all replicas something, this one included; no more than a hint."""
        await self._write(partial(notify, payload=payload))

    async def acquire_lease(self, holder: str, seconds: float) -> int | None:
        """Become the one replica that dispatches, if there is none, and give the token."""
        return await self._write(partial(leasing.acquire_lease, holder=holder, seconds=seconds))

    async def renew_lease(self, token: int, seconds: float, report: str) -> bool:
        """Remain it for longer; False where another replica has become it."""
        return await self._write(
            partial(leasing.renew_lease, token=token, seconds=seconds, report=report)
        )

    async def release_lease(self, token: int) -> None:
        """Let another become it at once."""

        def release(session: WriteSession) -> None:
            leasing.release_lease(session, token=token)
            notify(session, LEASE)

        await self._write(release)

    async def read_lease(self) -> leasing.LeaseView | None:
        """Read which replica dispatches; None where none ever has."""
        return await self._run(leasing.read_lease)

    async def _write(self, operation: Callable[[WriteSession], T]) -> T:
        def run(connection: Connection) -> T:
            return operation(WriteSession(connection, must_truncate=False))

        return await self._run(run)
