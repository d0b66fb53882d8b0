"""The size of the store, for monitoring."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from app.domain.errors import StoreUnavailable
from app.relay.single_flight import SingleFlight
from app.store.store import Store
from app.store.store_size import StorePart, measure_store

logger = logging.getLogger(__name__)

# As long as a health report waits for a read: a scrape makes both at once.
_TIMEOUT_SECONDS: Final = 2.0


class StoreSizeReader:
    """Measures the store when asked, at low priority and never twice at once."""

    def __init__(self, store: Store) -> None:
        self._measure = SingleFlight(
            partial(store.search, measure_store), timeout_seconds=_TIMEOUT_SECONDS
        )

    async def read(self) -> Mapping[StorePart, int]:
        """Return the size of each part in bytes; nothing if that fails or takes too long."""
        try:
            return await self._measure()
        except (StoreUnavailable, TimeoutError, OSError):
            return {}
        except Exception:
            logger.exception("the size of the store cannot be measured")
            return {}
