"""Sharing one running call among its callers, each of which waits for a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a call at most once at a time, so that calls never pile up behind one that hangs.

    Args:
        call: what to run.
        timeout_seconds: how long a caller waits. The call itself continues, for later callers.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], *, timeout_seconds: float) -> None:
        self._call = call
        self._timeout_seconds = timeout_seconds
        self._running: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Give the result of the running call, or of a new one.

        Raises:
            TimeoutError: it takes longer than that.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
            self._running.add_done_callback(_retrieve_exception)
        running = self._running
        done, _ = await asyncio.wait({running}, timeout=self._timeout_seconds)
        if not done:
            raise TimeoutError
        return running.result()

    async def _run(self) -> T:
        return await self._call()


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    # With no caller left, asyncio would log it as never retrieved.
    if not task.cancelled():
        task.exception()
