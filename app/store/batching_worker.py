"""A thread that processes waiting work in batches."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from app.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

W = TypeVar("W")

# Beyond this size the fixed cost of a commit is a small part of it, and others wait for the rest.
_ENOUGH_SIZE: Final = 64.0


@dataclass(slots=True)
class _Job(Generic[W]):
    work: W
    size: int
    future: asyncio.Future[Any]


class BatchingWorker(Generic[W]):
    """Processes submitted work in batches, in order, in one thread.

    While the thread is idle, the event loop hands a batch over as soon as no more work arrives or
    half of the expected work has: of the callers that were just answered and may come back, and of
    those that wait. Under load, one half is then committed while the other is received. Handing
    over the first callers at once would commit a few of them, then the rest, in turns: over 32
    connections that halves the rate.

    Use it in the event loop's thread.

    Args:
        name: of the thread.
        process: runs in the thread; returns a result or an exception for each work. If it raises,
            each work fails with that exception.
        maximum_size: a batch accepts no more work once it has this size.
    """

    def __init__(
        self, name: str, process: Callable[[Sequence[W]], Sequence[object]], *, maximum_size: int
    ) -> None:
        self._process = process
        self._maximum_size = maximum_size
        self._queue: SimpleQueue[list[_Job[W]] | None] = SimpleQueue()
        self._waiting: list[_Job[W]] = []
        self._waiting_size = 0
        self._enough_size = _ENOUGH_SIZE
        self._busy_since: float | None = None
        self._is_flush_scheduled = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy_seconds(self) -> float:
        """How long the current batch has been running; 0 while the thread is idle."""
        return 0.0 if self._busy_since is None else time.monotonic() - self._busy_since

    def submit(self, work: W, size: int = 1) -> asyncio.Future[Any]:
        """Return a future of the work's result."""
        if self._is_closed:
            raise StoreUnavailable
        job = _Job(work, size, self._loop.create_future())
        self._waiting.append(job)
        self._waiting_size += size
        self._schedule_flush()
        return job.future

    async def close(self) -> None:
        """Process the waiting work and end the thread."""
        self._is_closed = True
        while self._waiting:
            self._queue.put(self._take_batch())
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _schedule_flush(self) -> None:
        if self._waiting and self._busy_since is None and not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self._loop.call_soon(self._flush_when_quiet, 0)

    def _flush_when_quiet(self, size_before: int) -> None:
        """Hand a batch over if nothing arrived since the last turn of the loop, or enough did."""
        size = self._waiting_size
        if size == size_before or size >= self._enough_size:
            self._is_flush_scheduled = False
            if self._waiting:
                self._busy_since = time.monotonic()
                self._queue.put(self._take_batch())
        else:
            self._loop.call_soon(self._flush_when_quiet, size)

    def _take_batch(self) -> list[_Job[W]]:
        count = size = 0
        while count < len(self._waiting) and size < self._maximum_size:
            size += self._waiting[count].size
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_size -= size
        return batch

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                results = self._process([job.work for job in batch])
            except Exception as error:
                logger.exception("a batch of %d failed", len(batch))
                results = [error] * len(batch)
            try:
                self._loop.call_soon_threadsafe(self._complete, batch, results)
            except RuntimeError:
                logger.warning("the event loop ended before %d results were returned", len(batch))

    def _complete(self, batch: Sequence[_Job[W]], results: Sequence[object]) -> None:
        self._busy_since = None
        completed_size = sum(job.size for job in batch)
        self._enough_size = min((completed_size + self._waiting_size) / 2, _ENOUGH_SIZE)
        for job, result in zip(batch, results, strict=True):
            if job.future.done():
                continue  # The caller gave up.
            if isinstance(result, BaseException):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._schedule_flush()
