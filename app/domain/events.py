"""Events: the nine changes, cut down to what permissions need."""

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


_KINDS: Final[Mapping[EventType, Kind]] = {
    EventType.USER_CREATED: Kind.USER,
    EventType.USER_UPDATED: Kind.USER,
    EventType.USER_DELETED: Kind.USER,
    EventType.TRIP_CREATED: Kind.TRIP,
    EventType.TRIP_UPDATED: Kind.TRIP,
    EventType.TRIP_DELETED: Kind.TRIP,
    EventType.MEMBERSHIP_CREATED: Kind.MEMBERSHIP,
    EventType.MEMBERSHIP_UPDATED: Kind.MEMBERSHIP,
    EventType.MEMBERSHIP_DELETED: Kind.MEMBERSHIP,
}

_DELETIONS: Final = frozenset(
    {EventType.USER_DELETED, EventType.TRIP_DELETED, EventType.MEMBERSHIP_DELETED}
)


class Event(NamedTuple):
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
    is_removal = event_type in _DELETIONS
    row = None if is_removal else text
    kind = _KINDS[event_type]
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
