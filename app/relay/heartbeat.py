"""Proof that the store commits.

A disk can stall without an error: commits neither succeed nor fail. Only a commit reveals that.
"""

import logging
from typing import Final

from app.domain.clocks import Clocks
from app.domain.errors import StoreUnavailable
from app.relay.single_flight import SingleFlight
from app.store.store import Store

logger = logging.getLogger(__name__)

# However often /health is polled, it causes at most one commit in this time.
INTERVAL_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 2.0
# A heartbeat may queue behind other commits; only a single commit this long is a stall.
_STALL_SECONDS: Final = 1.0


class Heartbeat:
    """Commits when polled, at most once per interval and never twice at once."""

    def __init__(self, store: Store, clocks: Clocks) -> None:
        self._store = store
        self._clocks = clocks
        self._commit_once = SingleFlight(self._commit, timeout_seconds=TIMEOUT_SECONDS)
        self._due_at = 0.0
        self._is_stalled = False

    async def find_failure(self) -> str | None:
        """Return why the store does not commit; None while it does."""
        now = self._clocks.monotonic()
        if self._commit_once.is_running or now >= self._due_at:
            if not self._commit_once.is_running:
                self._due_at = now + INTERVAL_SECONDS
            try:
                await self._commit_once()
            except TimeoutError:
                if self._store.commit_seconds >= _STALL_SECONDS:
                    return self._report_stall()
        if self._store.failure is not None:
            return f"the last commit failed: {self._store.failure}"
        return None

    async def _commit(self) -> None:
        has_recovered = False
        try:
            await self._store.write_heartbeat(self._clocks.now())
            has_recovered = self._is_stalled
        except StoreUnavailable:
            pass  # The store has logged it; `Store.failure` is the reason.
        except Exception:
            logger.exception("the heartbeat failed")
        self._is_stalled = False
        if has_recovered:
            logger.info("the store commits again")

    def _report_stall(self) -> str:
        reason = f"a commit has been running for {self._store.commit_seconds:.0f} s"
        if not self._is_stalled:
            logger.error("the store is stalled: %s", reason)
        self._is_stalled = True
        return reason
