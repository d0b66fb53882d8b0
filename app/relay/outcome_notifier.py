"""Notifies waiting requests of recorded outcomes."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from app.domain.entities import EntityRef


class OutcomeNotifier:
    """Wakes the subscribers of an entity whenever an outcome is recorded for it."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[EntityRef, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribe(self, ref: EntityRef) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each outcome; the subscriber clears it."""
        signal = asyncio.Event()
        self._subscriptions[ref].add(signal)
        try:
            yield signal
        finally:
            self._subscriptions[ref].discard(signal)
            if not self._subscriptions[ref]:
                del self._subscriptions[ref]

    def publish(self, refs: Iterable[EntityRef] | None = None) -> None:
        """Wake the subscribers of these entities; of all entities if they are not known."""
        for ref in self._subscriptions if refs is None else refs:
            for signal in self._subscriptions.get(ref, ()):
                signal.set()
