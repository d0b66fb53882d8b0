"""Proof that the store commits.

A disk can stall without an error: commits neither succeed nor fail. Only a commit reveals that.
"""

import logging
from typing import Final

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
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
        self._defect = Degradation(
            logger, "the heartbeat succeeds again", monotonic=clocks.monotonic
        )
        self._stall = Degradation(logger, "the store commits again", monotonic=clocks.monotonic)

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
        try:
            await self._store.write_heartbeat(self._clocks.now())
        except StoreUnavailable:
            # The store has logged it, and will log its end; `Store.failure` is the reason.
            self._stall.forget()
            return
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            message = "the heartbeat failed"
            self._defect.note(message, cause=type(error), level=logging.ERROR, error=error)
            return
        self._stall.end()
        self._defect.end()

    def _report_stall(self) -> str:
        reason = f"a commit has been running for {self._store.commit_seconds:.0f} s"
        self._stall.note(f"the store is stalled: {reason}", level=logging.ERROR)
        return reason
