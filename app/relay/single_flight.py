"""One running call, shared by all of its callers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a call at most once at a time, so that calls never pile up behind one that hangs.

    Args:
        timeout_seconds: how long a caller waits. The call itself continues, for later callers.
    """

    def __init__(
        self, call: Callable[[], Coroutine[Any, Any, T]], *, timeout_seconds: float
    ) -> None:
        self._call = call
        self._timeout_seconds = timeout_seconds
        self._task: asyncio.Task[T] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call is running."""
        return self._task is not None and not self._task.done()

    async def __call__(self) -> T:
        """Return the result of the running call, or of a new one.

        Raises:
            TimeoutError: the call takes too long.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._call())
            self._task.add_done_callback(_retrieve_exception)
        task = self._task
        done, _ = await asyncio.wait({task}, timeout=self._timeout_seconds)
        if not done:
            raise TimeoutError
        return task.result()


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    # After all callers have left, asyncio would log the exception as never retrieved.
    if not task.cancelled():
        task.exception()
