"""Keeps all connections together within their bounds.

A connection that waits for its client (for a request, for the rest of one, or for the client to
read an answer) may be closed to make room: the longest waiting first, and those that have never
delivered an authentic event before those that have. A request that is complete is never dropped.
So callers who are not authenticated take room from each other only, and from a sender whose
connection is so new that its request has not arrived: it has to send again.
"""

import asyncio
import logging
import resource
from collections import Counter
from enum import StrEnum
from typing import Final, Protocol, assert_never

from app.server.limits import MIB, Limits

logger = logging.getLogger(__name__)

# For the store, Supabase, logs and what libraries open.
_RESERVED_DESCRIPTORS: Final = 128
_SWEEP_SECONDS: Final = 0.25
_LOG_INTERVAL_SECONDS: Final = 10.0


class Reason(StrEnum):
    """Why a connection was evicted."""

    CONNECTIONS = "connections"
    MEMORY = "memory"


class Connection(Protocol):
    """One connection, as seen from here.

    Attributes:
        is_trusted: whether it has delivered an authentic event.
        held_bytes: what it holds in memory while it waits.
        deadline: when its wait ends, by the event loop's clock.
    """

    is_trusted: bool
    held_bytes: int
    deadline: float

    def time_out(self) -> None:
        """End the wait: its deadline has passed."""

    def abort(self) -> None:
        """Close at once, with no answer."""


class Connections:
    """All connections of one server.

    Used in the event loop's thread.

    Args:
        limits: the bounds; `connections` is no more than `bound_connections` allows.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.evictions: Counter[Reason] = Counter()
        self.read_buffer = memoryview(bytearray(limits.read_bytes))
        self._open: set[Connection] = set()
        # What each holds, in the order in which their waits began: a dict keeps it.
        self._waiting: dict[Connection, int] = {}
        self._held_bytes = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._log_again_at = dict.fromkeys(Reason, float("-inf"))

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Count a new connection, which waits for its first request; may evict another."""
        self._open.add(connection)
        self.wait(connection)
        if len(self._open) > self.limits.connections:
            self._evict(self._choose(besides=connection) or connection, Reason.CONNECTIONS)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self.end_wait(connection)

    def wait(self, connection: Connection) -> None:
        """Note that a connection begins to wait for its client."""
        self.end_wait(connection)
        self.hold(connection)

    def hold(self, connection: Connection) -> None:
        """Note what a waiting connection holds now; may evict any that waits and holds much."""
        held_bytes = connection.held_bytes
        self._held_bytes += held_bytes - self._waiting.get(connection, 0)
        self._waiting[connection] = held_bytes
        while self._held_bytes > self.limits.held_bytes:
            self._evict(self._choose(holding=True) or connection, Reason.MEMORY)
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_deadlines)

    def end_wait(self, connection: Connection) -> None:
        """Note that a connection no longer waits."""
        self._held_bytes -= self._waiting.pop(connection, 0)

    def _choose(
        self, *, besides: Connection | None = None, holding: bool = False
    ) -> Connection | None:
        """Find the one that has waited longest, among those not trusted if there are any."""
        longest: Connection | None = None
        for connection, held_bytes in self._waiting.items():
            if connection is besides or (holding and not held_bytes):
                continue
            if not connection.is_trusted:
                return connection
            longest = longest or connection
        return longest

    def _evict(self, connection: Connection, reason: Reason) -> None:
        self.remove(connection)
        connection.abort()
        self.evictions[reason] += 1
        now = asyncio.get_running_loop().time()
        if now >= self._log_again_at[reason]:
            self._log_again_at[reason] = now + _LOG_INTERVAL_SECONDS
            logger.warning("%s: closing those that have waited longest", self._describe(reason))

    def _describe(self, reason: Reason) -> str:
        match reason:
            case Reason.CONNECTIONS:
                return f"MAX_CONNECTIONS reached, {self.limits.connections} connections are open"
            case Reason.MEMORY:
                mebibytes = self.limits.held_bytes // MIB
                return f"unfinished requests and unread answers hold {mebibytes} MiB"
            case _:
                assert_never(reason)

    def _sweep_deadlines(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [each for each in self._waiting if each.deadline <= now]:
            connection.time_out()
        if self._waiting and self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_deadlines)


def bound_connections(wanted: int) -> int:
    """Give how many connections can be served: fewer than wanted if file descriptors are short.

    Raises the process's soft limit as far as it needs to, and logs a warning if that is not enough.
    """
    needed = wanted + _RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    bound = max(soft - _RESERVED_DESCRIPTORS, soft // 2, 1)
    logger.warning(
        "MAX_CONNECTIONS=%d needs %d file descriptors and the limit is %d: serving %d connections;"
        " raise the limit (ulimit -n)",
        wanted,
        needed,
        soft,
        bound,
    )
    return bound
