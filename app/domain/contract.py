"""The event contract: the data of each event type, and the limits of an event."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from app.domain.entities import Kind
from app.domain.events import EventType
from app.domain.instants import parse_timestamp

MAXIMUM_AHEAD_SECONDS: Final = 300
"""An event further in the future would freeze its entity until then."""

EARLIEST_TIMESTAMP: Final = parse_timestamp("2000-01-01T00:00:00Z")
"""An earlier timestamp was never set: Go's zero time is year 1, a numeric zero is 1970.

Such an event would lose to every other version of its entity, silently.
"""

MAXIMUM_BATCH_EVENTS: Final = 1000

UUID_PATTERN: Final = (
    r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"
)
_NO_NUL_PATTERN: Final = r"^[^\x00]*$"

Uuid = Annotated[str, StringConstraints(strict=True, pattern=UUID_PATTERN, to_lower=True)]
# 320 characters: the longest address that SMTP can carry (64 + 1 + 255).
Email = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=320, pattern=_NO_NUL_PATTERN)
]
Name = Annotated[str, StringConstraints(strict=True, max_length=1000, pattern=_NO_NUL_PATTERN)]
Word = Annotated[str, StringConstraints(strict=True)]


class UserRow(TypedDict):
    """A user in Supabase."""

    id: Uuid
    email: Email
    username: Name


class TripRow(TypedDict):
    """A trip in Supabase."""

    id: Uuid
    name: Name
    created_by: Uuid


class MembershipRow(TypedDict):
    """A membership in Supabase."""

    trip_id: Uuid
    user_id: Uuid
    role: Word
    status: Word


class IdOnly(TypedDict):
    """The id of a removed user or trip."""

    id: Uuid


class MembershipIds(TypedDict):
    """The ids of a removed membership."""

    trip_id: Uuid
    user_id: Uuid


DATA_TYPES: Final[Mapping[EventType, type]] = {
    EventType.USER_CREATED: UserRow,
    EventType.USER_UPDATED: UserRow,
    EventType.USER_DELETED: IdOnly,
    EventType.TRIP_CREATED: TripRow,
    EventType.TRIP_UPDATED: TripRow,
    EventType.TRIP_DELETED: IdOnly,
    EventType.MEMBERSHIP_CREATED: MembershipRow,
    EventType.MEMBERSHIP_UPDATED: MembershipRow,
    EventType.MEMBERSHIP_DELETED: MembershipIds,
}
DATA_SCHEMAS: Final[Mapping[EventType, TypeAdapter[dict[str, str]]]] = {
    event_type: TypeAdapter(data_type) for event_type, data_type in DATA_TYPES.items()
}
ROW_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.USER: tuple(UserRow.__annotations__),
    Kind.TRIP: tuple(TripRow.__annotations__),
    Kind.MEMBERSHIP: tuple(MembershipRow.__annotations__),
}
"""The contract's fields of each row, in the order in which a row is written."""
