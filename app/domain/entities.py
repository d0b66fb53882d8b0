"""Entities: what the relay keeps in step, and the order of their versions."""

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
    """What an entity is."""

    USER = "user"
    TRIP = "trip"
    MEMBERSHIP = "membership"


class EntityState(StrEnum):
    """Where an entity stands between its desired row and Supabase."""

    PENDING = "pending"
    APPLIED = "applied"
    DEAD = "dead"


class EventStatus(StrEnum):
    """What became of one event; `superseded` when its entity has moved past it."""

    PENDING = "pending"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    DEAD = "dead"


class Priority(IntEnum):
    """The queues of pending entities; one request takes from one of them.

    Fresh changes come in three kinds of request: revocations of memberships, writes, and deletes of
    trips and users, which may cascade for long. Replays repeat what is applied already, so they
    come after all fresh changes. What failed by itself is retried in queues of its own, so that it
    shares no request with fresh changes; what failed as a whole request of one is sent alone, a
    revocation from the queue of those that are retried.
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
        """Whether its entities failed by themselves before."""
        return Priority.RETRIED_REVOCATION <= self <= Priority.RETRIED_DELETE

    @property
    def request_kind(self) -> "Priority":
        """The kind of request that its entities go in; ALONE is one of its own."""
        return self if self is Priority.ALONE else Priority(self % 3)


class Version(NamedTuple):
    """The order of events: compared field by field, the later wins.

    Attributes:
        occurred_at: when the source says that it happened.
        is_removal: whether it takes access away; at the same instant that wins.
        sequence: the place in the order of receipt.
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
    """An entity whose desired row Supabase may not hold yet, as the dispatcher claims it.

    Attributes:
        ref: which entity.
        version: of the desired row.
        row: what Supabase should hold; None for nothing.
        revision: rises with every change of what is to be written, replays included. An outcome
            counts only for the revision that it was claimed at.
        attempts: failures of its own in a row, all with `last_error_code`.
        waiting_since: since when it has failed with `last_error_code`.
        pending_since: since when Supabase may not hold the row.
        last_error_code: of its last failure; None without one since its last success or event.
        request_limit: most entities of a request that it may be part of; None without a bound.
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

    @property
    def priority(self) -> Priority:
        """The queue of a fresh change of this entity."""
        if not self.version.is_removal:
            return Priority.WRITE
        is_membership = self.ref.kind is Kind.MEMBERSHIP
        return Priority.REVOCATION if is_membership else Priority.DELETE


def membership_key(trip_id: str, user_id: str) -> EntityKey:
    """Join the two ids of a membership into its key."""
    return EntityKey(f"{trip_id}/{user_id}")


def split_membership_key(key: EntityKey) -> tuple[str, str]:
    """Give the trip id and the user id of a membership's key."""
    trip_id, _, user_id = key.partition("/")
    return trip_id, user_id


def find_parent(entity: PendingEntity, field: str | None) -> EntityRef | None:
    """Give the entity that a field of a row refers to; None for any other field."""
    if entity.row is None:
        return None
    kind = {"trip_id": Kind.TRIP, "user_id": Kind.USER, "created_by": Kind.USER}.get(field or "")
    key = json.loads(entity.row).get(field)
    if kind is None or not isinstance(key, str):
        return None
    return EntityRef(kind, EntityKey(key))
