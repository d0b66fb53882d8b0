"""Forgetting events that are too old to be asked for, in bites that nobody notices."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.instants import after, from_seconds
from app.store.store import Store

logger = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86_400
# A bite is one commit that events wait behind; some 3 ms.
_BITE_EVENTS: Final = 500
_PAUSE_SECONDS: Final = 0.05
_INTERVAL_SECONDS: Final = 3600.0
_STANDBY_SECONDS: Final = 60.0


class Purger:
    """Removes events past their retention; entities stay, they are the state."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        retention_days: int,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._clock = clock
        # One replica is enough.
        self._leads = leads
        self._retention_seconds = retention_days * _DAY_SECONDS

    async def run(self) -> None:
        """Purge now and then, until cancelled."""
        while True:
            if not self._leads():
                await asyncio.sleep(_STANDBY_SECONDS)
                continue
            try:
                count = await self.purge()
            except StoreUnavailable:
                logger.warning("old events stay for now: the store is not writable")
            else:
                if count:
                    logger.info("purged %d events past their retention", count)
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def purge(self) -> int:
        """Remove all that is past its retention now, and say how many events that were."""
        before = after(from_seconds(self._clock()), -self._retention_seconds)
        total = 0
        while count := await self._store.purge_events(before, _BITE_EVENTS):
            total += count
            await asyncio.sleep(_PAUSE_SECONDS)
        return total
