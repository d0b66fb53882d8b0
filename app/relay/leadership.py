"""Leadership: the replica that holds the lease dispatches."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.domain.errors import LeaseLost, StoreUnavailable
from app.relay.background import repeat
from app.relay.dispatcher_status import DispatcherStatus, read_status, write_status
from app.store import lease
from app.store.replicas import Replicas

logger = logging.getLogger(__name__)

# After a `kill -9`, another replica takes over within the lease and one poll: 3.5 s.
LEASE_SECONDS: Final = 3.0
_RENEW_SECONDS: Final = 0.75
_POLL_SECONDS: Final = 0.5
# The holder counts from before its request, and stops this much earlier than the database.
_MARGIN_SECONDS: Final = 0.5


def read_clock() -> float:
    """Return seconds that also pass while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def name_replica() -> str:
    """Return the name of this replica: its host and process id."""
    return f"{socket.gethostname()}/{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Leader:
    """The replica that dispatches, and its dispatcher's status."""

    name: str
    status: DispatcherStatus


class Leadership:
    """Acquires the lease and renews it.

    Args:
        holder: the name of this replica.
        get_status: returns the dispatcher's status, for the other replicas.
        clock: seconds that also pass while the machine is suspended.

    Attributes:
        holder: the name of this replica.
    """

    def __init__(
        self,
        replicas: Replicas,
        *,
        holder: str,
        on_gain: Callable[[], None],
        get_status: Callable[[], DispatcherStatus],
        clock: Callable[[], float] = read_clock,
    ) -> None:
        self._replicas = replicas
        self.holder = holder
        self._on_gain = on_gain
        self._get_status = get_status
        self._clock = clock
        self._token: int | None = None
        self._valid_until = 0.0
        self._poll = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether this replica is the leader, and no other can be."""
        return self._token is not None and self._clock() < self._valid_until

    @property
    def poll_seconds(self) -> float:
        """How often to look for changes that other replicas made."""
        return self._replicas.poll_seconds

    def require(self, token: int | None = None) -> int:
        """Return the token of the current lease.

        Args:
            token: of the lease under which the work began: another replica may have been the
                leader since then.

        Raises:
            LeaseLost: the lease is not held, may have expired, or is another one.
        """
        if self._token is None or not self.is_held or token not in (None, self._token):
            raise LeaseLost
        return self._token

    def poll_now(self) -> None:
        """Ask for the lease now: it may be free."""
        self._poll.set()

    async def run(self) -> None:
        """Acquire and renew the lease, until cancelled."""
        # During an outage of the store, a lease is held until it expires.
        await repeat(
            self.acquire_or_renew,
            self._wait,
            logger=logger,
            effect="the lease cannot be acquired or renewed",
            retry_seconds=_POLL_SECONDS,
        )

    async def _wait(self) -> None:
        self._poll.clear()
        seconds = _POLL_SECONDS if self._token is None else _RENEW_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._poll.wait()

    async def acquire_or_renew(self) -> None:
        """Ask the store for the lease once."""
        asked_at = self._clock()
        if self._token is None:
            self._token = await self._replicas.run(lease.acquire_lease, self.holder, LEASE_SECONDS)
            if self._token is None:
                return
            logger.info("this replica dispatches now (lease %d)", self._token)
            self._valid_until = asked_at + LEASE_SECONDS - _MARGIN_SECONDS
            self._on_gain()
            return
        report = write_status(self._get_status())
        if await self._replicas.run(lease.renew_lease, self._token, LEASE_SECONDS, report):
            self._valid_until = asked_at + LEASE_SECONDS - _MARGIN_SECONDS
        else:
            logger.warning("another replica dispatches now (lease %d is lost)", self._token)
            self._token = None

    async def release(self) -> None:
        """Let another replica take over at once."""
        token, self._token = self._token, None
        if token is not None:
            with contextlib.suppress(StoreUnavailable):
                await self._replicas.run(lease.release_lease, token)

    async def read_leader(self) -> Leader | None:
        """Return the leader and the status that it reported; None if no replica is the leader."""
        stored = await self._replicas.run(lease.read_lease)
        if stored is None or not stored.is_held:
            return None
        return Leader(stored.holder, read_status(stored.report))
