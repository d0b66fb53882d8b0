"""Proving that the store commits, by a small commit now and then.

A disk can stall without any error: commits neither succeed nor fail. Only a commit shows that.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.instants import from_seconds
from app.store.store import Store

logger = logging.getLogger(__name__)

# Anybody may poll the health: that must not cause more than one commit in this time.
INTERVAL_SECONDS: Final = 2.0
# How long a poll waits for the commit.
PATIENCE_SECONDS: Final = 2.0
# While commits complete, one that waits its turn behind others is no sign of a stall.
_STALL_SECONDS: Final = 1.0


class Heartbeat:
    """Commits when it is asked and the last time is a while ago; never twice at once.

    Args:
        store: where.
        clock: Unix seconds.
        monotonic: seconds that never step.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._began_at: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_stalled = False

    async def find_failure(self) -> str | None:
        """Give why the store does not commit; None while it does."""
        if self._is_due():
            self._began_at = self._monotonic()
            self._running = asyncio.create_task(self._commit(), name="heartbeat")
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=PATIENCE_SECONDS)
            if not self._running.done() and self._store.commit_seconds >= _STALL_SECONDS:
                return self._report_stall()
        if self._store.failure is not None:
            return f"the last commit failed: {self._store.failure}"
        return None

    def _is_due(self) -> bool:
        if self._running is not None and not self._running.done():
            return False
        return self._began_at is None or self._monotonic() - self._began_at >= INTERVAL_SECONDS

    async def _commit(self) -> None:
        was_stalled = False
        try:
            await self._store.beat(from_seconds(self._clock()))
            was_stalled = self._is_stalled
        except StoreUnavailable:
            pass  # It has been logged; `Store.failure` says why.
        except Exception:
            logger.exception("the heartbeat failed")
        self._is_stalled = False
        if was_stalled:
            logger.info("the store commits again")

    def _report_stall(self) -> str:
        reason = f"a commit has been running for {self._store.commit_seconds:.0f} s"
        if not self._is_stalled:
            logger.error("the store is stalled: %s", reason)
        self._is_stalled = True
        return reason
