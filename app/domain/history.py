"""What the relay can say of its past and of what is still to be done."""

from dataclasses import dataclass
from typing import NewType

from app.domain.entities import EntityRef, EntityState, EventStatus
from app.domain.events import EventId, EventType
from app.domain.instants import Instant

ReplayId = NewType("ReplayId", str)


@dataclass(frozen=True, slots=True)
class EntityView:
    """An entity as an operator sees it.

    Attributes:
        ref: which entity.
        state: where it stands.
        desired_at: `occurred_at` of the desired version.
        desired_sequence: sequence of the desired version.
        applied_sequence: sequence of the version that Supabase is known to have held last.
        applied_at: when that was written.
        attempts: refusals that were its own fault.
        next_attempt_at: when it is tried again; None unless pending.
        last_error_code: SQLSTATE or the like; None after success.
        last_error: one sentence without values.
    """

    ref: EntityRef
    state: EntityState
    desired_at: Instant
    desired_sequence: int
    applied_sequence: int | None
    applied_at: Instant | None
    attempts: int
    next_attempt_at: Instant | None
    last_error_code: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A stored event, and where its entity stands today."""

    event_id: EventId
    type: EventType
    sequence: int
    occurred_at: Instant
    received_at: Instant
    entity: EntityView

    @property
    def status(self) -> EventStatus:
        """What became of it: superseded as soon as its entity stands at a later version."""
        if self.entity.desired_sequence != self.sequence:
            return EventStatus.SUPERSEDED
        return EventStatus(self.entity.state.value)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be done.

    Attributes:
        pending: entities that Supabase may not hold yet.
        oldest_pending_since: since when the longest waiting one waits; None without any.
        oldest_removal_since: the same of those that take access away.
        dead: entities that Supabase refused for good.
    """

    pending: int
    oldest_pending_since: Instant | None
    oldest_removal_since: Instant | None
    dead: int


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay, as it was asked for and as far as it has come."""

    replay_id: ReplayId
    status: str
    matched_events: int
    entities: int
