"""A thread that handles in one go whatever waits at the same moment."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from app.domain.errors import StoreUnavailable

logger = logging.getLogger(__name__)

W = TypeVar("W")


@dataclass(slots=True)
class Waiting(Generic[W]):
    """Something to do, and who waits for what comes of it."""

    work: W
    future: asyncio.Future[object]
    weight: int


Outcome = tuple[Waiting[W], object, BaseException | None]
"""What came of it: a result, or an error."""


class GroupThread(Generic[W]):
    """Runs `handle` over groups of what waits, in a thread of its own.

    Args:
        name: of the thread.
        maximum_weight: a group takes no more once it weighs so much.
    """

    def __init__(self, name: str, *, maximum_weight: int) -> None:
        self._maximum_weight = maximum_weight
        self._queue: SimpleQueue[Waiting[W] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._closed = False

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    async def submit(self, work: W, weight: int = 1) -> object:
        """Have something done and return its result.

        Raises:
            StoreUnavailable: the thread has ended.
        """
        if self._closed:
            raise StoreUnavailable
        waiting: Waiting[W] = Waiting(work, self._loop.create_future(), weight)
        self._queue.put(waiting)
        return await waiting.future

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def handle(self, group: Sequence[Waiting[W]]) -> Sequence[Outcome[W]]:
        """Do all of it, and say what came of each."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of what the thread held."""

    def _work(self) -> None:
        closing = False
        while not closing:
            group, closing = self._next_group()
            if group:
                self._answer(self.handle(group))
        self.end()

    def _next_group(self) -> tuple[list[Waiting[W]], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        weight = first.weight
        while weight < self._maximum_weight:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, True
            group.append(waiting)
            weight += waiting.weight
        return group, False

    def _answer(self, outcomes: Sequence[Outcome[W]]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            logger.warning("the event loop ended before %d operations were answered", len(outcomes))


def _resolve(outcomes: Sequence[Outcome[W]]) -> None:
    for waiting, result, error in outcomes:
        if waiting.future.done():
            continue
        if error is None:
            waiting.future.set_result(result)
        else:
            waiting.future.set_exception(error)
