"""Telling whoever waits for an entity that something came of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.domain.entities import EntityRef
from app.store.signals import mark_of


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

    def announce_marks(self, marks: frozenset[str]) -> None:
        """Another replica has recorded something for entities with these marks; none: for any."""
        for ref, signals in self._watches.items():
            if not marks or mark_of(ref) in marks:
                for signal in signals:
                    signal.set()
