"""Receiving: store authentic, valid events, and let callers wait for Supabase."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from app.domain.clocks import Clocks
from app.domain.entities import EntityRef, EventStatus
from app.domain.errors import EventIdConflict, EventNotFound, StoreUnavailable
from app.domain.events import Event, EventId
from app.relay.measurements import Measurements
from app.relay.outcome_notifier import OutcomeNotifier
from app.store import event_queries
from app.store.receive import Receipt
from app.store.store import Store


class Receiver:
    """Stores events and wakes the dispatcher."""

    def __init__(
        self,
        store: Store,
        notifier: OutcomeNotifier,
        *,
        clocks: Clocks,
        wake_dispatcher: Callable[[], None],
        measurements: Measurements,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._clocks = clocks
        self._wake_dispatcher = wake_dispatcher
        # Labels are resolved once: that takes longer than counting.
        self._counters = {receipt: measurements.events.labels(receipt.value) for receipt in Receipt}
        self._is_stopping = False

    async def receive_event(self, event: Event, *, trace: str | None = None) -> Receipt:
        """Store one event; it is durable when this returns.

        Args:
            event: the event.
            trace: the ids of the request, to store with it.

        Raises:
            EventIdConflict: an event with this id and another body is stored.
        """
        (receipt,) = await self.receive_events((event,), trace=trace)
        if receipt is Receipt.CONFLICT:
            raise EventIdConflict
        return receipt

    def enqueue_event(
        self,
        event: Event,
        on_result: Callable[[Receipt | BaseException], None],
        *,
        trace: str | None = None,
    ) -> None:
        """Store one event; for callers without an asyncio task.

        Args:
            on_result: called with the receipt when the event is durable, or with the error that
                `receive_event` would raise.
            trace: the ids of the request, to store with it.
        """

        def complete(stored: asyncio.Future[list[Receipt]]) -> None:
            error = stored.exception()
            if error is not None:
                on_result(error)
                return
            (receipt,) = stored.result()
            self._note_receipts((receipt,))
            on_result(EventIdConflict() if receipt is Receipt.CONFLICT else receipt)

        now = self._clocks.now()
        self._store.store_events((event,), now, trace).add_done_callback(complete)

    async def receive_events(
        self, events: Sequence[Event], *, trace: str | None = None
    ) -> list[Receipt]:
        """Store events in one commit, all or none; return their receipts, in the same order."""
        receipts = await self._store.store_events(events, self._clocks.now(), trace)
        self._note_receipts(receipts)
        return receipts

    async def wait_until_settled(
        self, event_id: EventId, ref: EntityRef, *, seconds: float
    ) -> EventStatus:
        """Wait until a stored event is no longer pending, and return its status.

        Returns the pending status after `seconds`, or at once if the relay stops.

        Raises:
            EventNotFound: the event is not stored.
        """
        status = EventStatus.PENDING
        # The event is stored, however the wait ends.
        with (
            self._notifier.subscribe(ref) as signal,
            contextlib.suppress(TimeoutError, StoreUnavailable),
        ):
            async with asyncio.timeout(seconds):
                while status is EventStatus.PENDING and not self._is_stopping:
                    signal.clear()
                    status = await self._read_status(event_id)
                    if status is EventStatus.PENDING:
                        await self._wait(signal)
        return status

    def end_waits(self) -> None:
        """End every wait at once, including future ones."""
        self._is_stopping = True
        self._notifier.publish()

    def _note_receipts(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            self._counters[receipt].inc()
        if Receipt.ACCEPTED in receipts:
            self._wake_dispatcher()

    async def _wait(self, signal: asyncio.Event) -> None:
        replicas = self._store.replicas
        # With replicas, also poll: a signal of another replica may be lost.
        seconds = None if replicas is None else replicas.poll_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await signal.wait()

    async def _read_status(self, event_id: EventId) -> EventStatus:
        event = await self._store.read(event_queries.find_event, event_id)
        if event is None:
            raise EventNotFound
        return event.status
