"""Purging events that are past their retention, in chunks that nobody notices."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.history import EventCursor
from app.domain.instants import Instant, from_seconds
from app.relay.outage_log import OutageLog
from app.store.store import Store

logger = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86_400
# A chunk is one commit that events wait behind; some 3 ms.
_CHUNK_EVENTS: Final = 500
_PAUSE_SECONDS: Final = 0.05
# How often to ask; the store decides whether a purge is due, by the wall clock and over restarts.
_POLL_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0


class Purger:
    """Removes events past their retention; entities stay, they are the state."""

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
        # One replica is enough.
        self._is_leader = is_leader
        self._retention_seconds = retention_days * _DAY_SECONDS
        # Of a purge that is not finished.
        self._cutoff: Instant | None = None
        self._position: EventCursor | None = None

    async def run(self) -> None:
        """Purge whenever it is due, until cancelled."""
        outage = OutageLog(logger, "old events cannot be purged")
        while True:
            seconds = _POLL_SECONDS
            try:
                count = await self.purge() if self._is_leader() else 0
            except StoreUnavailable:
                outage.begin()
                seconds = _RETRY_SECONDS
            except Exception:
                logger.exception("the purge failed and is tried again")
            else:
                outage.end()
                if count:
                    logger.info("purged %d events past their retention", count)
            await asyncio.sleep(seconds)

    async def purge(self) -> int:
        """Remove what is past its retention, if a purge is due; give the number of events.

        Raises:
            StoreUnavailable: it is not finished; the next call resumes it.
        """
        if self._cutoff is None:
            self._position = None
            self._cutoff = await self._store.begin_purge(
                from_seconds(self._clock()), self._retention_seconds
            )
        total = 0
        while self._cutoff is not None:
            chunk = await self._store.purge_events(
                self._cutoff, _CHUNK_EVENTS, resume_after=self._position
            )
            total += chunk.events
            self._position = chunk.end
            if chunk.end is None:
                self._cutoff = None
            else:
                await asyncio.sleep(_PAUSE_SECONDS)
        return total
