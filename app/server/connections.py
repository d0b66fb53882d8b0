"""Keeps the connections within the limits on their number and memory.

A connection that waits for its client (to send a request, or to read a response) may be evicted:
the longest waiting first, and those that never delivered an authentic event before those that did.
Whole requests are never dropped. So unauthenticated callers evict only each other, and senders
whose first request has not arrived yet.
"""

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from app.domain.degradation import Degradation
from app.server.limits import Limits

if TYPE_CHECKING:
    from app.server.protocol import RelayProtocol

logger = logging.getLogger(__name__)

# For the store, Supabase, logs and libraries.
_RESERVED_DESCRIPTORS: Final = 128
_SWEEP_SECONDS: Final = 0.25
# Without an eviction for so long, the limit no longer matters.
_QUIET_SECONDS: Final = 60.0


class Reason(StrEnum):
    """The limit that evicted a connection."""

    CONNECTIONS = "connections"
    MEMORY = "memory"


class EvictionLog:
    """Logs that one limit evicts connections, until it has not for a while."""

    def __init__(self, cause: str, monotonic: Callable[[], float]) -> None:
        self._message = f"{cause}; evicting those that waited longest"
        self._monotonic = monotonic
        recovery = f"no evictions for {_QUIET_SECONDS:.0f} s; before, {cause}"
        self._log = Degradation(logger, recovery, monotonic=monotonic)
        self._evicted_at = 0.0

    def note_eviction(self) -> None:
        """Log an eviction, unless one was logged lately."""
        self.end_if_quiet()
        self._evicted_at = self._monotonic()
        self._log.note(self._message)

    def end_if_quiet(self) -> None:
        """Log the end, if there was no eviction for a while."""
        if self._monotonic() - self._evicted_at >= _QUIET_SECONDS:
            self._log.end()


class Connections:
    """All connections of one server."""

    def __init__(self, limits: Limits, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.evictions: Counter[Reason] = Counter()
        self.read_buffer = memoryview(bytearray(limits.read_bytes))
        self._open: set[RelayProtocol] = set()
        # Held bytes, in the order in which the waits began.
        self._waiting: dict[RelayProtocol, int] = {}
        self._held_bytes = 0
        self._sweep: asyncio.TimerHandle | None = None
        full = {
            Reason.CONNECTIONS: f"MAX_CONNECTIONS reached ({limits.connections} connections)",
            Reason.MEMORY: "unfinished requests and unread responses fill their memory",
        }
        self._eviction_logs = {
            reason: EvictionLog(text, monotonic) for reason, text in full.items()
        }

    @property
    def open_count(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def add(self, connection: "RelayProtocol") -> None:
        """Add a new connection, which waits for its first request. May evict another."""
        self._open.add(connection)
        self.wait(connection)
        if len(self._open) > self.limits.connections:
            self._evict(self._choose(besides=connection) or connection, Reason.CONNECTIONS)

    def remove(self, connection: "RelayProtocol") -> None:
        """Remove a closed connection."""
        self._open.discard(connection)
        self.end_wait(connection)

    def wait(self, connection: "RelayProtocol") -> None:
        """Begin the wait of a connection for its client."""
        self.end_wait(connection)
        self.hold(connection)

    def hold(self, connection: "RelayProtocol") -> None:
        """Update the held bytes of a waiting connection. May evict connections."""
        held_bytes = connection.held_bytes
        self._held_bytes += held_bytes - self._waiting.get(connection, 0)
        self._waiting[connection] = held_bytes
        while self._held_bytes > self.limits.held_bytes:
            self._evict(self._choose(holding=True) or connection, Reason.MEMORY)
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_deadlines)

    def end_wait(self, connection: "RelayProtocol") -> None:
        """End the wait of a connection."""
        self._held_bytes -= self._waiting.pop(connection, 0)

    def _choose(
        self, *, besides: "RelayProtocol | None" = None, holding: bool = False
    ) -> "RelayProtocol | None":
        """Find the connection that has waited longest, among untrusted ones if any."""
        longest: RelayProtocol | None = None
        for connection, held_bytes in self._waiting.items():
            if connection is besides or (holding and not held_bytes):
                continue
            if not connection.is_trusted:
                return connection
            longest = longest or connection
        return longest

    def _evict(self, connection: "RelayProtocol", reason: Reason) -> None:
        self.remove(connection)
        connection.abort()
        self.evictions[reason] += 1
        self._eviction_logs[reason].note_eviction()

    def _sweep_deadlines(self) -> None:
        self._sweep = None
        for log in self._eviction_logs.values():
            log.end_if_quiet()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [each for each in self._waiting if each.deadline <= now]:
            connection.time_out()
        if self._waiting and self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_deadlines)


def bound_connections(wanted: int) -> int:
    """Return how many connections the file descriptors allow, after raising the soft limit."""
    needed = wanted + _RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    bound = max(soft - _RESERVED_DESCRIPTORS, soft // 2, 1)
    logger.warning(
        "MAX_CONNECTIONS=%d needs %d file descriptors, but the limit is %d; serving %d connections;"
        " raise the limit (ulimit -n)",
        wanted,
        needed,
        soft,
        bound,
    )
    return bound
