"""Telling whoever waits for an entity that something came of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.domain.entities import EntityRef


class Settlements:
    """Wakes those who wait for an entity whenever an outcome is recorded for it."""

    def __init__(self) -> None:
        self._watches: defaultdict[EntityRef, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watch(self, ref: EntityRef) -> Iterator[asyncio.Event]:
        """Give an event that is set at the next outcome; the watcher clears it."""
        signal = asyncio.Event()
        self._watches[ref].add(signal)
        try:
            yield signal
        finally:
            self._watches[ref].discard(signal)
            if not self._watches[ref]:
                del self._watches[ref]

    def announce(self, refs: Iterable[EntityRef]) -> None:
        """Something was recorded for these entities."""
        if not self._watches:
            return
        for ref in refs:
            for signal in self._watches.get(ref, ()):
                signal.set()
