"""A thread that does in one go whatever waits at the same moment."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from app.domain.errors import StoreUnavailable
from app.store.engine import describe_failure, hide_values, is_store_failure, may_succeed_at_once

logger = logging.getLogger(__name__)

W = TypeVar("W")

# A connection that has not been used for so long is tried before it is trusted.
FRESH_SECONDS: Final = 1.0
# Beyond so much, a commit's own cost is a small part of what it holds, and the others wait for it.
_ENOUGH_WEIGHT: Final = 64.0
_TRIES: Final = 4


Settle = Callable[[object, BaseException | None], None]
"""Takes a result, or an error; called in the event loop's thread."""


@dataclass(slots=True)
class Waiting(Generic[W]):
    """Something to do, and who is told what came of it."""

    work: W
    settle: Settle
    weight: int


Outcome = tuple[Waiting[W], object, BaseException | None]
"""What came of it: a result, or an error."""


class GroupThread(Generic[W]):
    """Does what waits in groups, in a thread of its own, each group all or nothing.

    While the thread is free, the event loop gives it a group once it has looked for more and found
    none, or has half of all that there may be: of those who were just answered, and may come back,
    and of those who wait. So, under load, the one half is committed while the other is received.
    Given the first who come, it commits a few of them, and the rest after that, in turns
    (docs/decisions/0002-the-store.md has figures).

    Used in the event loop's thread.

    Args:
        name: of the thread.
        maximum_weight: a group takes no more once it weighs so much.
    """

    def __init__(self, name: str, *, maximum_weight: int) -> None:
        self._maximum_weight = maximum_weight
        self._queue: SimpleQueue[list[Waiting[W]] | None] = SimpleQueue()
        self._waiting: list[Waiting[W]] = []
        self._waiting_weight = 0
        self._busy_since: float | None = None
        self._is_looking = False
        self._enough_weight = _ENOUGH_WEIGHT
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = False
        self._failure: str | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the last group could not be committed; None while the store is writable."""
        return self._failure

    @property
    def commit_seconds(self) -> float:
        """For how long the group at hand has been worked on; 0 while the thread is free."""
        return 0.0 if self._busy_since is None else time.monotonic() - self._busy_since

    async def submit(self, work: W, weight: int = 1) -> object:
        """Have something done and return its result once it is durable.

        Raises:
            StoreUnavailable: it could not be committed, and nothing of it is stored; or the thread
                has ended.
        """
        future: asyncio.Future[object] = self._loop.create_future()
        self.put(work, partial(_set_outcome, future), weight)
        return await future

    def put(self, work: W, settle: Settle, weight: int = 1) -> None:
        """Have something done, and be told what came of it.

        Raises:
            StoreUnavailable: the thread has ended.
        """
        if self._closed:
            raise StoreUnavailable
        self._waiting.append(Waiting(work, settle, weight))
        self._waiting_weight += weight
        self._look_for_more()

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        self._closed = True
        while self._waiting:
            self._queue.put(self._take_group())
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def commit(self, group: Sequence[W]) -> Sequence[object]:
        """Do all of it, or fail with nothing done; give the results in order."""
        raise NotImplementedError

    def discard(self) -> None:
        """Let go of the connection, if there is one."""

    def _look_for_more(self) -> None:
        if self._waiting and self._busy_since is None and not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._look, 0)

    def _look(self, weight_before: int) -> None:
        """Hand a group over if nothing has come since the event loop last looked, or enough."""
        weight = self._waiting_weight
        if weight == weight_before or weight >= self._enough_weight:
            self._is_looking = False
            if self._waiting:
                self._busy_since = time.monotonic()
                self._queue.put(self._take_group())
        else:
            self._loop.call_soon(self._look, weight)

    def _take_group(self) -> list[Waiting[W]]:
        count = weight = 0
        while count < len(self._waiting) and weight < self._maximum_weight:
            weight += self._waiting[count].weight
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_weight -= weight
        return group

    def _run(self) -> None:
        while (group := self._queue.get()) is not None:
            self._answer(self._handle(group, _TRIES))
        self.discard()

    def _handle(self, group: Sequence[Waiting[W]], tries: int) -> list[Outcome[W]]:
        try:
            results = self.commit([waiting.work for waiting in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the answer
            if may_succeed_at_once(error) and tries > 1:
                return self._handle(group, tries - 1)
            self.discard()
            if is_store_failure(error):
                self._note_failure(describe_failure(error))
                return [(waiting, None, StoreUnavailable()) for waiting in group]
            if len(group) == 1:
                return [(group[0], None, hide_values(error))]
            # One's fault must not take its neighbours along.
            return [outcome for waiting in group for outcome in self._handle([waiting], _TRIES)]
        self._note_failure(None)
        return [(waiting, result, None) for waiting, result in zip(group, results, strict=True)]

    def _note_failure(self, failure: str | None) -> None:
        # Once each: while the store is unavailable, everything fails that comes in.
        if failure is not None and failure != self._failure:
            logger.error("the store cannot commit: %s", failure)
        if failure is None and self._failure is not None:
            logger.info("the store commits again")
        self._failure = failure

    def _answer(self, outcomes: Sequence[Outcome[W]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, outcomes)
        except RuntimeError:
            logger.warning("the event loop ended before %d operations were answered", len(outcomes))

    def _settle(self, outcomes: Sequence[Outcome[W]]) -> None:
        self._busy_since = None
        answered_weight = sum(waiting.weight for waiting, _, _ in outcomes)
        half_weight = (answered_weight + self._waiting_weight) / 2
        self._enough_weight = min(half_weight, _ENOUGH_WEIGHT)
        for waiting, result, error in outcomes:
            try:
                waiting.settle(result, error)
            except Exception:
                # Of one alone: the others have to be told.
                logger.exception("who waited for the store did not take its answer")
        self._look_for_more()


def _set_outcome(
    future: asyncio.Future[object], result: object, error: BaseException | None
) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
