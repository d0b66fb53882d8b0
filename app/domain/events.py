"""Events: the nine changes, cut down to what permissions need."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType, assert_never

from app.domain.documents import write_row
from app.domain.entities import EntityKey, Kind, RowText, membership_key
from app.domain.instants import Instant

EventId = NewType("EventId", str)
"""A webhook-id: 1 to 255 visible ASCII characters."""

Scalar = str | int | float | bool | None
"""A JSON value that is neither an array nor an object."""

ACTIVE: Final = "ACTIVE"
"""The membership status that gives access; every other takes it away."""


class EventType(StrEnum):
    """The nine changes that the backend tells of."""

    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DELETED = "user.deleted"
    TRIP_CREATED = "trip.created"
    TRIP_UPDATED = "trip.updated"
    TRIP_DELETED = "trip.deleted"
    MEMBERSHIP_CREATED = "membership.created"
    MEMBERSHIP_UPDATED = "membership.updated"
    MEMBERSHIP_DELETED = "membership.deleted"


@dataclass(frozen=True, slots=True)
class Event:
    """One change, validated and cut down to permission data.

    Attributes:
        event_id: the webhook-id, stable over retries.
        type: which change.
        kind: of the entity that changes.
        key: of the entity that changes.
        trip_id: a membership's trip, else None.
        user_id: a membership's user or a trip's creator, else None.
        occurred_at: when the source says that it happened.
        is_removal: whether it takes access away.
        row: what Supabase should hold after it; None for nothing.
        data: the permission data to store, as canonical JSON text.
        digest: SHA-256 over type, timestamp and the whole of data as JSON, so that neither spacing
            nor the order of fields nor the way by a batch turns a retry into a conflict.
    """

    event_id: EventId
    type: EventType
    kind: Kind
    key: EntityKey
    trip_id: str | None
    user_id: str | None
    occurred_at: Instant
    is_removal: bool
    row: RowText | None
    data: str
    digest: bytes


def make_event(
    event_id: EventId,
    event_type: EventType,
    occurred_at: Instant,
    data: dict[str, str],
    digest: bytes,
    extra: Mapping[str, Scalar] | None = None,
) -> Event:
    """Say what a validated change means for its entity.

    Args:
        event_id: the webhook-id.
        event_type: which change.
        occurred_at: when the source says that it happened.
        data: the fields of the contract, in its order.
        digest: of the whole body.
        extra: fields beside the contract that belong to the row, in the order of the configuration.
    """
    text = write_row({**data, **extra} if extra else data)
    trip_id = user_id = None
    row: RowText | None = text
    is_removal = False
    match event_type:
        case EventType.USER_CREATED | EventType.USER_UPDATED:
            kind, key = Kind.USER, EntityKey(data["id"])
        case EventType.USER_DELETED:
            kind, key = Kind.USER, EntityKey(data["id"])
            row, is_removal = None, True
        case EventType.TRIP_CREATED | EventType.TRIP_UPDATED:
            kind, key = Kind.TRIP, EntityKey(data["id"])
            user_id = data["created_by"]
        case EventType.TRIP_DELETED:
            kind, key = Kind.TRIP, EntityKey(data["id"])
            row, is_removal = None, True
        case EventType.MEMBERSHIP_CREATED | EventType.MEMBERSHIP_UPDATED:
            trip_id, user_id = data["trip_id"], data["user_id"]
            kind, key = Kind.MEMBERSHIP, membership_key(trip_id, user_id)
            is_removal = data["status"] != ACTIVE
        case EventType.MEMBERSHIP_DELETED:
            trip_id, user_id = data["trip_id"], data["user_id"]
            kind, key = Kind.MEMBERSHIP, membership_key(trip_id, user_id)
            row, is_removal = None, True
        case _:
            assert_never(event_type)
    return Event(
        event_id=event_id,
        type=event_type,
        kind=kind,
        key=key,
        trip_id=trip_id,
        user_id=user_id,
        occurred_at=occurred_at,
        is_removal=is_removal,
        row=row,
        data=text,
        digest=digest,
    )
