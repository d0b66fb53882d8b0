"""Tells those who wait for an entity when an outcome is recorded for it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.domain.entities import EntityRef
from app.store.signals import mark_of


class OutcomeNotifier:
    """Wakes those who wait for an entity whenever an outcome is recorded for it."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[EntityRef, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribe(self, ref: EntityRef) -> Iterator[asyncio.Event]:
        """Give an event that is set at the next outcome; the subscriber clears it."""
        signal = asyncio.Event()
        self._subscriptions[ref].add(signal)
        try:
            yield signal
        finally:
            self._subscriptions[ref].discard(signal)
            if not self._subscriptions[ref]:
                del self._subscriptions[ref]

    def publish(self, refs: Iterable[EntityRef]) -> None:
        """Wake the subscribers of these entities."""
        if not self._subscriptions:
            return
        for ref in refs:
            for signal in self._subscriptions.get(ref, ()):
                signal.set()

    def publish_marks(self, marks: frozenset[str]) -> None:
        """Wake the subscribers of entities that another replica has marked; with no marks, all."""
        for ref, signals in self._subscriptions.items():
            if not marks or mark_of(ref) in marks:
                for signal in signals:
                    signal.set()
