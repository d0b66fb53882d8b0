"""Events: the nine changes, reduced to permission data."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, NewType, assert_never

from app.domain.documents import write_row
from app.domain.entities import EntityKey, Kind, RowText, membership_key
from app.domain.instants import Instant

EventId = NewType("EventId", str)
"""A webhook-id: 1 to 255 visible ASCII characters."""

Scalar = str | int | float | bool | None
"""A JSON value that is neither an array nor an object."""

ACTIVE: Final = "ACTIVE"
"""The membership status that grants access; every other status revokes it."""


class EventType(StrEnum):
    """The changes that the backend reports."""

    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DELETED = "user.deleted"
    TRIP_CREATED = "trip.created"
    TRIP_UPDATED = "trip.updated"
    TRIP_DELETED = "trip.deleted"
    MEMBERSHIP_CREATED = "membership.created"
    MEMBERSHIP_UPDATED = "membership.updated"
    MEMBERSHIP_DELETED = "membership.deleted"


KINDS: Final[Mapping[EventType, Kind]] = {
    event_type: Kind(event_type.partition(".")[0]) for event_type in EventType
}
DELETIONS: Final = frozenset(
    {EventType.USER_DELETED, EventType.TRIP_DELETED, EventType.MEMBERSHIP_DELETED}
)


class Event(NamedTuple):
    """One change, validated and reduced to permission data.

    Attributes:
        trip_id: the trip of a membership, else None.
        user_id: the user of a membership or the creator of a trip, else None.
        is_removal: whether the change is a revocation.
        row: the row that Supabase should hold afterwards; None for no row.
        data: the permission data to store, as canonical JSON text.
        digest: SHA-256 of type, timestamp and all of data, so that a retry with other white space,
            in another field order, or in a batch is a duplicate and not a conflict.
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
    """Make the event of a validated change.

    Args:
        data: the contract's fields, in the contract's order.
        extra: further fields of the row, in the order of the configuration.
    """
    text = write_row({**data, **extra} if extra else data)
    trip_id = user_id = None
    is_removal = event_type in DELETIONS
    row = None if is_removal else text
    kind = KINDS[event_type]
    match kind:
        case Kind.MEMBERSHIP:
            trip_id, user_id = data["trip_id"], data["user_id"]
            key = membership_key(trip_id, user_id)
            is_removal = is_removal or data["status"] != ACTIVE
        case Kind.TRIP:
            key = EntityKey(data["id"])
            user_id = None if is_removal else data["created_by"]
        case Kind.USER:
            key = EntityKey(data["id"])
        case _:
            assert_never(kind)
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
