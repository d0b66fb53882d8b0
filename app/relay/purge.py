"""Purging events past their retention, in small chunks."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.history import EventCursor
from app.domain.instants import Instant, from_seconds
from app.relay.background import repeat
from app.store import retention
from app.store.store import Store

logger = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86_400
# Events wait while a chunk commits: about 3 ms.
_CHUNK_EVENTS: Final = 500
_PAUSE_SECONDS: Final = 0.05
# The store decides, by its stored cutoff, whether a purge is due.
_POLL_SECONDS: Final = 60.0


class Purger:
    """Deletes events past their retention; entities stay, because they are the state."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        retention_days: int,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._clock = clock
        # Only one replica purges.
        self._is_leader = is_leader
        self._retention_seconds = retention_days * _DAY_SECONDS
        # Of a purge that is not finished.
        self._cutoff: Instant | None = None
        self._position: EventCursor | None = None

    async def run(self) -> None:
        """Purge whenever a purge is due, until cancelled."""
        await repeat(
            self._purge_if_leader,
            lambda: asyncio.sleep(_POLL_SECONDS),
            logger=logger,
            effect="old events are not purged",
        )

    async def _purge_if_leader(self) -> None:
        count = await self.purge() if self._is_leader() else 0
        if count:
            logger.info("purged %d events past their retention", count)

    async def purge(self) -> int:
        """Delete events past their retention if a purge is due; return their number.

        Raises:
            StoreUnavailable: the purge is not finished; the next call resumes it.
        """
        if self._cutoff is None:
            self._position = None
            self._cutoff = await self._store.write(
                retention.advance_cutoff, from_seconds(self._clock()), self._retention_seconds
            )
        total = 0
        while self._cutoff is not None:
            chunk = await self._store.write(
                retention.purge_chunk, self._cutoff, _CHUNK_EVENTS, resume_after=self._position
            )
            total += chunk.events
            self._position = chunk.end
            if chunk.end is None:
                self._cutoff = None
            else:
                await asyncio.sleep(_PAUSE_SECONDS)
        return total
