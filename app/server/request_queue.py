"""Begins requests of the regular path, a few in each iteration of the event loop.

An iteration that began one for every busy connection would take as long as all of them, and new
connections and events on the fast path would wait for its end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_BEGUN_AT_ONCE: Final = 4


class RequestQueue:
    """First come, first served.

    Used in the event loop's thread.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def put(self, begin: Callable[[], None]) -> None:
        """Have a request begun soon."""
        self._waiting.append(begin)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            # Called in the next iteration, after it has looked for what has arrived.
            asyncio.get_running_loop().call_soon(self._begin_some)

    def _begin_some(self) -> None:
        self._is_scheduled = False
        for _ in range(min(_BEGUN_AT_ONCE, len(self._waiting))):
            self._waiting.popleft()()
        self._schedule()
