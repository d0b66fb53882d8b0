"""Entities: what the relay keeps in step, and the order of their versions."""

import json
from dataclasses import dataclass
from enum import StrEnum
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


class Priority:
    """The order in which pending entities are picked; lower goes first."""

    ACCESS_TAKEN = 0
    CHANGE = 1
    # Replays repeat what already stands, so that they never hold up what does not.
    REPLAY = 2

    ALL = (ACCESS_TAKEN, CHANGE, REPLAY)


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
    """An entity whose desired row may not be in Supabase yet, as the dispatcher picks it.

    Attributes:
        ref: which entity.
        version: of the desired row.
        row: what Supabase should hold; None for nothing.
        revision: rises with every change of what is to be written, replays included. An outcome
            counts only for the revision that it was read at.
        attempts: refusals so far that were this entity's own fault.
        waiting_since: since when it has waited for a parent, if it does.
        pending_since: since when Supabase may not hold the row.
    """

    ref: EntityRef
    version: Version
    row: RowText | None
    revision: int
    attempts: int
    waiting_since: Instant | None
    pending_since: Instant


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
