"""Purging events and revocations past their retention, in small chunks."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.clocks import Clocks
from app.domain.instants import Instant
from app.relay.background import repeat
from app.store import retention
from app.store.store import Store

logger = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86_400
# Events wait while a chunk commits: about 3 ms.
_CHUNK_ROWS: Final = 500
_PAUSE_SECONDS: Final = 0.05
# The store decides, by its stored cutoff, whether a purge is due.
_POLL_SECONDS: Final = 60.0


class Purger:
    """Deletes events and revocations past their retention; entities stay: they are the state."""

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
        """Delete what is past its retention if a purge is due; return the number of events.

        What a failure of the store leaves, the next purge deletes.
        """
        cutoff = await self._store.write(
            retention.advance_cutoff, self._clocks.now(), self._retention_seconds
        )
        total, position = 0, None
        while cutoff is not None:
            count, position = await self._store.write(
                retention.purge_chunk, cutoff, _CHUNK_ROWS, resume_after=position
            )
            total += count
            if position is None:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        if cutoff is not None:
            await self._purge_revocations(cutoff)
        return total

    async def _purge_revocations(self, cutoff: Instant) -> None:
        count = _CHUNK_ROWS
        while count == _CHUNK_ROWS:
            count = await self._store.write(retention.purge_revocations, cutoff, _CHUNK_ROWS)
            await asyncio.sleep(_PAUSE_SECONDS)
