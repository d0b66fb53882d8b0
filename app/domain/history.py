"""Stored events, the backlog and replays, as operators see them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

from app.domain.entities import EntityRef, EntityState, EventStatus, Kind
from app.domain.events import EventId, EventType
from app.domain.instants import Instant
from app.domain.traces import Trace

ReplayId = NewType("ReplayId", str)


@dataclass(frozen=True, slots=True)
class EntityView:
    """An entity as an operator sees it.

    Attributes:
        is_removed: whether the desired state is "no row".
        is_removal: whether the desired version is a removal or a revocation.
        desired_at: `occurred_at` of the desired version.
        applied_version_at: `occurred_at` of the last version that Supabase is known to have held.
        applied_at: when that version was written.
        pending_since: None unless pending.
        attempts: failures in a row that were the entity's own.
        next_attempt_at: when it is due; None unless pending. The dispatcher may try it later.
        is_retry: whether it failed by itself before, and is retried.
        last_error: one sentence without row values.
    """

    ref: EntityRef
    state: EntityState
    is_removed: bool
    is_removal: bool
    desired_at: Instant
    desired_sequence: int
    applied_version_at: Instant | None
    applied_sequence: int | None
    applied_at: Instant | None
    pending_since: Instant | None
    attempts: int
    next_attempt_at: Instant | None
    is_retry: bool
    last_error_code: str | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A stored event and the current state of its entity.

    Attributes:
        trace: the ids of the request that brought it; None if it had none.
    """

    event_id: EventId
    type: EventType
    sequence: int
    occurred_at: Instant
    received_at: Instant
    entity: EntityView
    trace: Trace | None = None

    @property
    def request_id(self) -> str | None:
        """The request id of its request."""
        return None if self.trace is None else self.trace.request_id

    @property
    def trace_id(self) -> str | None:
        """The W3C trace id of its request."""
        return None if self.trace is None else self.trace.trace_id

    @property
    def status(self) -> EventStatus:
        """Superseded once the entity has a later version, else the entity's state."""
        if self.entity.desired_sequence != self.sequence:
            return EventStatus.SUPERSEDED
        return EventStatus(self.entity.state.value)


@dataclass(frozen=True, slots=True)
class TroubledEntity:
    """A pending entity that keeps failing by itself; `message` holds no row values."""

    ref: EntityRef
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is pending and dead.

    Attributes:
        oldest_pending_since: None if nothing is pending.
        oldest_removal_since: of the pending removals.
        latest_pending_since: in the future if the clock was set back after an entity became
            pending.
        latest_removal_since: of the pending removals.
        troubled: some of the pending entities that keep failing, longest first.
        troubled_count: the number of all such entities.
    """

    pending: int
    oldest_pending_since: Instant | None
    oldest_removal_since: Instant | None
    dead: int
    latest_pending_since: Instant | None
    latest_removal_since: Instant | None
    troubled: tuple[TroubledEntity, ...] = ()
    troubled_count: int = 0


@dataclass(frozen=True, slots=True)
class DeadCause:
    """Why entities of one kind are dead; `message` holds no row values.

    Attributes:
        entities: how many.
        removals: how many of them are removals or revocations: access may remain.
    """

    kind: Kind
    code: str
    message: str
    entities: int
    removals: int = 0


class EventCursor(NamedTuple):
    """A position in the order of receipt; the sequence orders events of one instant."""

    received_at: Instant
    sequence: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, newest first.

    Attributes:
        events: may be shorter than the limit, or empty, although more follow.
        next_cursor: where the next page starts; None at the end.
    """

    events: tuple[StoredEvent, ...]
    next_cursor: EventCursor | None


class ReplayStatus(StrEnum):
    """The progress of a replay; completed once all its entities are requeued."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Matches:
    """The number of events that match some criteria, and of their entities."""

    events: int
    entities: int


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay and its progress.

    Attributes:
        requested_by: the subject of the token.
        criteria: as `domain.criteria` writes them.
        marked: entities requeued so far.
        waiting: of the marked, those still pending.
        dead: of the marked, those that Supabase rejected.
        superseded: of the marked, those that a later replay requeued before they were applied.
    """

    number: int
    replay_id: ReplayId
    requested_at: Instant
    requested_by: str | None
    criteria: str
    status: ReplayStatus
    matches: Matches
    marked: int
    waiting: int
    dead: int
    superseded: int

    @property
    def applied(self) -> int:
        """Of the marked, those that Supabase holds again."""
        return self.marked - self.waiting - self.dead - self.superseded


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """A page of replays, newest first; `next_number` is where the next page starts."""

    replays: tuple[Replay, ...]
    next_number: int | None
