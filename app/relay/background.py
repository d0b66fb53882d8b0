"""Background tasks that survive failures of the store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.domain.errors import StoreUnavailable


class OutageLog:
    """Logs when an outage of the store begins, with its effect, and when it ends."""

    def __init__(self, logger: logging.Logger, effect: str) -> None:
        self._logger = logger
        self._effect = effect
        self.is_ongoing = False

    def begin(self) -> None:
        """Record a failed attempt."""
        if not self.is_ongoing:
            self._logger.warning("%s: the store is unavailable; retrying", self._effect)
        self.is_ongoing = True

    def end(self) -> None:
        """Record a successful attempt."""
        if self.is_ongoing:
            self._logger.info("the store is available again")
        self.is_ongoing = False


async def repeat(
    work: Callable[[], Awaitable[None]],
    wait: Callable[[], Awaitable[None]],
    *,
    logger: logging.Logger,
    effect: str,
    retry_seconds: float = 1.0,
) -> None:
    """Work and wait in turn, until cancelled; after a failure, log its effect and retry soon."""
    outage = OutageLog(logger, effect)
    while True:
        try:
            await work()
        except StoreUnavailable:
            outage.begin()
            await asyncio.sleep(retry_seconds)
        except Exception:
            logger.exception("%s: unexpected error; retrying", effect)
            await asyncio.sleep(retry_seconds)
        else:
            outage.end()
            await wait()
