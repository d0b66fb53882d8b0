"""Purging events past their retention, in small chunks."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.clocks import Clocks
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
        clocks: Clocks,
        retention_days: int,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._clocks = clocks
        # Only one replica purges.
        self._is_leader = is_leader
        self._retention_seconds = retention_days * _DAY_SECONDS

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

        What a failure of the store leaves, the next purge deletes.
        """
        cutoff = await self._store.write(
            retention.advance_cutoff, self._clocks.now(), self._retention_seconds
        )
        total, position = 0, None
        while cutoff is not None:
            count, position = await self._store.write(
                retention.purge_chunk, cutoff, _CHUNK_EVENTS, resume_after=position
            )
            total += count
            if position is None:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        return total
