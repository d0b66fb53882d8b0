"""The leader's status, as any replica knows it, and when an entity is tried next."""

from collections.abc import Sequence
from dataclasses import replace

from app.domain.history import StoredEvent
from app.relay.dispatch import Dispatcher
from app.relay.leadership import Leader, Leadership, name_replica


class LeaderReader:
    """Reads the leader's status: this replica's own, or the one that the leader reported.

    Attributes:
        replica: the name of this replica.
    """

    def __init__(self, dispatcher: Dispatcher, leadership: Leadership | None) -> None:
        self._dispatcher = dispatcher
        self._leadership = leadership
        self.replica = name_replica() if leadership is None else leadership.holder

    def is_leader(self) -> bool:
        """Tell whether this replica dispatches."""
        return self._leadership is None or self._leadership.is_held

    def is_breaker_open(self) -> bool:
        """Tell whether this replica dispatches and its circuit breaker is open."""
        # A replica that has lost the lease may have left its circuit breaker open.
        return self.is_leader() and self._dispatcher.status.failure is not None

    async def read(self) -> Leader | None:
        """Return the leader; None if no replica is the leader."""
        if self._leadership is None or self._leadership.is_held:
            return Leader(self.replica, self._dispatcher.status)
        return await self._leadership.read_leader()

    async def correct_attempts(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Correct the next attempts of events by the leader's status."""
        if all(event.entity.next_attempt_at is None for event in events):
            return list(events)
        return correct_attempts(events, await self.read())


def correct_attempts(events: Sequence[StoredEvent], leader: Leader | None) -> list[StoredEvent]:
    """Correct the next attempts of events by the circuit breaker and the held tables.

    Without a leader, nobody knows them: None.
    """
    return [_correct(event, leader) for event in events]


def _correct(event: StoredEvent, leader: Leader | None) -> StoredEvent:
    next_attempt_at = None if leader is None else leader.status.find_next_attempt(event.entity)
    return replace(event, entity=replace(event.entity, next_attempt_at=next_attempt_at))
