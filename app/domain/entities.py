"""Entities: what the relay keeps in sync, and how their versions are ordered."""

import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple, NewType

from app.domain.instants import Instant

EntityKey = NewType("EntityKey", str)
"""The id of a user or a trip; `<trip_id>/<user_id>` of a membership. Lower-case UUIDs."""

RowText = NewType("RowText", str)
"""A row as canonical JSON text: fields in the order of the contract, no white space."""


class Kind(StrEnum):
    """The kinds of entity."""

    USER = "user"
    TRIP = "trip"
    MEMBERSHIP = "membership"


class EntityState(StrEnum):
    """Whether Supabase holds an entity's desired row."""

    PENDING = "pending"
    APPLIED = "applied"
    DEAD = "dead"


class EventStatus(StrEnum):
    """The status of one event; superseded once its entity has a later version."""

    PENDING = "pending"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    DEAD = "dead"


class Priority(IntEnum):
    """The queues of pending entities; all entities of one request come from one queue.

    Fresh changes come in three kinds of request: revocations of memberships, writes, and deletes of
    trips and users, which may cascade for long. Replays repeat what is applied already, so they
    come after all fresh changes. Entities that failed by themselves are retried in separate queues,
    so that they share no request with fresh changes. An entity whose request failed without another
    in it is sent alone; a revocation then waits among the retried revocations.
    """

    REVOCATION = 0
    WRITE = 1
    DELETE = 2
    REPLAYED_REVOCATION = 3
    REPLAYED_WRITE = 4
    REPLAYED_DELETE = 5
    RETRIED_REVOCATION = 6
    RETRIED_WRITE = 7
    RETRIED_DELETE = 8
    ALONE = 9

    @property
    def is_retry(self) -> bool:
        """Whether entities of this queue failed by themselves before."""
        return Priority.RETRIED_REVOCATION <= self <= Priority.RETRIED_DELETE

    @property
    def request_kind(self) -> "Priority":
        """The kind of request for this queue: REVOCATION, WRITE, DELETE or ALONE."""
        return self if self is Priority.ALONE else Priority(self % 3)


class Version(NamedTuple):
    """Orders the changes of one entity: compared field by field, the later wins.

    Attributes:
        occurred_at: when the change happened, according to the source.
        is_removal: whether the change is a revocation, which wins at the same instant.
        sequence: the order of receipt.
    """

    occurred_at: Instant
    is_removal: bool
    sequence: int


class EntityRef(NamedTuple):
    """Names one entity."""

    kind: Kind
    key: EntityKey


@dataclass(frozen=True, slots=True)
class PendingEntity:
    """An entity that the dispatcher claims, because Supabase may not hold its desired row.

    Attributes:
        version: of the desired row.
        row: the desired row; None for no row.
        revision: rises with every change of the desired row and every replay. An outcome counts
            only for the revision that was claimed.
        attempts: failures in a row of this entity with `last_error_code`.
        waiting_since: since when the entity fails with `last_error_code`.
        pending_since: since when Supabase may not hold the row.
        last_error_code: of the last failure; None after a success or a new event.
        request_limit: most entities of a request that this one may be part of; None for no limit.
        revoked_at: when a membership's access ended at the source, if Supabase may still grant it;
            else None. Of several revocations in a row, this is the first.
        revocation_received_at: when that revocation was received.
        event_id: of the event that decided the desired row, for the log; None if it is purged, or
            if a repair decided.
    """

    ref: EntityRef
    version: Version
    row: RowText | None
    revision: int
    attempts: int
    waiting_since: Instant | None
    pending_since: Instant
    last_error_code: str | None = None
    request_limit: int | None = None
    revoked_at: Instant | None = None
    revocation_received_at: Instant | None = None
    event_id: str | None = None

    @property
    def priority(self) -> Priority:
        """The queue of a fresh change of this entity."""
        if not self.version.is_removal:
            return Priority.WRITE
        is_membership = self.ref.kind is Kind.MEMBERSHIP
        return Priority.REVOCATION if is_membership else Priority.DELETE

    @property
    def retry_priority(self) -> Priority:
        """The queue of this entity after a failure."""
        return Priority(Priority.RETRIED_REVOCATION + self.priority)


def membership_key(trip_id: str, user_id: str) -> EntityKey:
    """Join the ids of a membership into its key."""
    return EntityKey(f"{trip_id}/{user_id}")


def split_membership_key(key: EntityKey) -> tuple[str, str]:
    """Return the trip id and the user id of a membership's key."""
    trip_id, _, user_id = key.partition("/")
    return trip_id, user_id


def find_parent(entity: PendingEntity, field: str | None) -> EntityRef | None:
    """Return the entity that a field of the row refers to; None if it is not a reference."""
    if entity.row is None:
        return None
    kind = {"trip_id": Kind.TRIP, "user_id": Kind.USER, "created_by": Kind.USER}.get(field or "")
    key = json.loads(entity.row).get(field)
    if kind is None or not isinstance(key, str):
        return None
    return EntityRef(kind, EntityKey(key))
