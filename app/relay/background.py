"""Background tasks, and how they survive failures of the store."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from app.domain.degradation import Degradation
from app.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)


class OutageLog:
    """Logs an outage of the store, with its effect on one task."""

    def __init__(
        self,
        logger: logging.Logger,
        effect: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._message = f"{effect}: the store is unavailable; retrying"
        self._outage = Degradation(logger, "the store is available again", monotonic=monotonic)

    @property
    def is_ongoing(self) -> bool:
        """Whether the last attempt failed."""
        return self._outage.is_ongoing

    def begin(self) -> None:
        """Record a failed attempt."""
        self._outage.note(self._message)

    def end(self) -> None:
        """Record a successful attempt."""
        self._outage.end()


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
    defect = Degradation(logger, "the unexpected error no longer occurs")
    while True:
        try:
            await work()
        except StoreUnavailable:
            outage.begin()
            await asyncio.sleep(retry_seconds)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            message = f"{effect}: unexpected error; retrying"
            defect.note(message, cause=type(error), level=logging.ERROR, error=error)
            await asyncio.sleep(retry_seconds)
        else:
            outage.end()
            defect.end()
            await wait()


def start(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run work in the background until the stack closes."""
    stack.push_async_callback(cancel, asyncio.create_task(work, name=name))


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


async def stop_within(
    limit_seconds: float, stop: Callable[[], None], dispatching: asyncio.Task[None]
) -> None:
    """Stop the dispatcher and wait until it has ended; after the limit, cancel it."""
    stop()
    done, _ = await asyncio.wait([dispatching], timeout=limit_seconds)
    if not done:
        logger.warning("the open batch was abandoned; it stays pending")
        await cancel(dispatching)
