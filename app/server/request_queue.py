"""Starts requests of the regular path, a few in each iteration of the event loop.

Starting one for every busy connection at once would delay new connections and the fast path.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_STARTS_PER_ITERATION: Final = 4


class RequestQueue:
    """Starts requests in the order of their arrival."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def put(self, start: Callable[[], None]) -> None:
        """Queue a request."""
        self._waiting.append(start)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            # Runs in the next iteration, after it has polled for I/O.
            asyncio.get_running_loop().call_soon(self._start_some)

    def _start_some(self) -> None:
        self._is_scheduled = False
        for _ in range(min(_STARTS_PER_ITERATION, len(self._waiting))):
            self._waiting.popleft()()
        self._schedule()
