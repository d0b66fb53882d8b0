"""The dispatcher's status, for monitoring and for the other replicas."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.domain.history import EntityView
from app.domain.instants import Instant


@dataclass(frozen=True, slots=True)
class HeldRows:
    """The writes or the deletes of one kind, which wait because their table is misconfigured.

    Attributes:
        deletes_inactive: whether a membership without access is deleted in Supabase.
        next_trial_at: when one of the rows is tried.
    """

    kind: Kind
    is_delete: bool
    deletes_inactive: bool
    next_trial_at: Instant

    def include(self, entity: EntityView) -> bool:
        """Tell whether an entity waits for a trial; a fresh change is tried at once."""
        is_delete = entity.is_removal if self.deletes_inactive else entity.is_removed
        return entity.is_retry and entity.ref.kind is self.kind and is_delete == self.is_delete


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """The status of one dispatcher.

    Attributes:
        crash: the type of the error that ended the last run; None while it runs.
        failure: why the circuit breaker is open; None while it is closed.
        failing_since: when the circuit breaker opened; None while it is closed.
        next_probe_at: the next probe of an open circuit breaker; None while it is closed.
        has_contact: whether Supabase has responded yet.
        held: a sentence on each misconfigured table.
        held_rows: the rows that wait for it.
        has_rival: whether another relay seems to write to the same project.
        is_fence_busy: whether another request has held the fence for long.
        unrecorded: entities whose outcome the store could not record yet.
    """

    crash: str | None = None
    failure: RequestFailure | None = None
    failing_since: Instant | None = None
    next_probe_at: Instant | None = None
    has_contact: bool = False
    held: tuple[str, ...] = ()
    held_rows: tuple[HeldRows, ...] = ()
    has_rival: bool = False
    is_fence_busy: bool = False
    unrecorded: int = 0

    def find_next_attempt(self, entity: EntityView) -> Instant | None:
        """Return the earliest time at which a pending entity is tried; None unless pending."""
        due_at = entity.next_attempt_at
        if due_at is None:
            return None
        waits = [held.next_trial_at for held in self.held_rows if held.include(entity)]
        if self.next_probe_at is not None:
            waits.append(self.next_probe_at)
        return max(due_at, *waits) if waits else due_at


_SCHEMA: Final = TypeAdapter(DispatcherStatus)


def write_status(status: DispatcherStatus) -> str:
    """Write a status as JSON."""
    return _SCHEMA.dump_json(status).decode()


def read_status(text: str | None) -> DispatcherStatus:
    """Read the status that another replica wrote; a replica that starts has none yet."""
    return DispatcherStatus() if text is None else _SCHEMA.validate_json(text)
