"""What the relay can say of its past and of what is still to be done."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

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
        is_removed: whether nothing is desired: no row of it should be in Supabase.
        desired_at: `occurred_at` of the desired version.
        desired_sequence: sequence of the desired version.
        applied_version_at: `occurred_at` of the version that Supabase is known to have held last.
        applied_sequence: sequence of that version.
        applied_at: when that was written.
        pending_since: since when Supabase may not hold it; None unless pending.
        attempts: refusals that were its own fault.
        next_attempt_at: when it is tried again; None unless pending.
        last_error_code: SQLSTATE or the like; None after success.
        last_error: one sentence without values.
    """

    ref: EntityRef
    state: EntityState
    is_removed: bool
    desired_at: Instant
    desired_sequence: int
    applied_version_at: Instant | None
    applied_sequence: int | None
    applied_at: Instant | None
    pending_since: Instant | None
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
class TroubledEntity:
    """A pending entity that keeps failing by itself; `message` has no values."""

    ref: EntityRef
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is still to be done.

    Attributes:
        pending: entities that Supabase may not hold yet.
        oldest_pending_since: since when the longest waiting one waits; None without any.
        oldest_removal_since: the same of those that take access away.
        dead: entities that Supabase refused for good.
        latest_pending_since: of the pending entities, the latest; in the future for one that became
            pending before the clock was set back.
        latest_removal_since: the same of those that take access away.
        troubled: some that keep failing by themselves, those that have for the longest time.
        troubled_count: how many do.
    """

    pending: int
    oldest_pending_since: Instant | None
    oldest_removal_since: Instant | None
    dead: int
    latest_pending_since: Instant | None
    latest_removal_since: Instant | None
    troubled: tuple[TroubledEntity, ...] = ()
    troubled_count: int = 0


class Position(NamedTuple):
    """A place in the order of receipt: of two events that came at one instant, by sequence."""

    received_at: Instant
    sequence: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, newest first.

    Attributes:
        events: at most as many as asked for; fewer, or none, also where more are to come.
        next_position: where to go on; None at the end.
    """

    events: tuple[StoredEvent, ...]
    next_position: Position | None


class ReplayStatus(StrEnum):
    """How far a replay has come."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Matches:
    """What some criteria meet.

    Attributes:
        events: how many events.
        entities: how many entities these are of.
    """

    events: int
    entities: int


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay, as it was asked for and as far as it has come.

    Attributes:
        number: counts the replays of a store.
        replay_id: its public name.
        requested_at: when.
        requested_by: the subject of the token.
        criteria: what was asked for, as `domain.criteria` writes it.
        status: completed as soon as all are marked to be written again.
        matches: what it met when it began.
        marked: entities marked so far.
        waiting: of these, still to be written.
        dead: of these, refused for good.
        superseded: of these, taken over by a later replay before they were settled.
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
    """Some replays, newest first; `next_number` is where to go on."""

    replays: tuple[Replay, ...]
    next_number: int | None
