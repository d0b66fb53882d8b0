"""The event contract: from the bytes of a body to events, or to what is wrong and where."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from app.domain.documents import digest_document, read_json, write_pointer
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.domain.events import Event, EventId, EventType, Scalar, make_event
from app.domain.extras import read_extra
from app.domain.instants import Instant, after, parse_timestamp

MAXIMUM_AHEAD_SECONDS: Final = 300
"""An event further ahead of the clock would freeze its entity until then."""

EARLIEST_TIMESTAMP: Final = parse_timestamp("2000-01-01T00:00:00Z")
"""No true event is older. An unset time is: year 1 in Go, 1970 where it is a number.

Accepted, it would lose to every other version of its entity, and nobody would be told.
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
    """What Supabase holds of a user."""

    id: Uuid
    email: Email
    username: Name


class TripRow(TypedDict):
    """What Supabase holds of a trip."""

    id: Uuid
    name: Name
    created_by: Uuid


class MembershipRow(TypedDict):
    """What Supabase holds of a membership."""

    trip_id: Uuid
    user_id: Uuid
    role: Word
    status: Word


class IdOnly(TypedDict):
    """What names a removed user or trip."""

    id: Uuid


class MembershipIds(TypedDict):
    """What names a removed membership."""

    trip_id: Uuid
    user_id: Uuid


DATA_SCHEMAS: Final[dict[EventType, TypeAdapter[dict[str, str]]]] = {
    event_type: TypeAdapter(schema)
    for event_type, schema in {
        EventType.USER_CREATED: UserRow,
        EventType.USER_UPDATED: UserRow,
        EventType.USER_DELETED: IdOnly,
        EventType.TRIP_CREATED: TripRow,
        EventType.TRIP_UPDATED: TripRow,
        EventType.TRIP_DELETED: IdOnly,
        EventType.MEMBERSHIP_CREATED: MembershipRow,
        EventType.MEMBERSHIP_UPDATED: MembershipRow,
        EventType.MEMBERSHIP_DELETED: MembershipIds,
    }.items()
}
ROW_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.USER: tuple(UserRow.__annotations__),
    Kind.TRIP: tuple(TripRow.__annotations__),
    Kind.MEMBERSHIP: tuple(MembershipRow.__annotations__),
}
"""The fields of every row, in the order in which it is written."""

_ROW_EVENTS: Final[Mapping[Kind, tuple[EventType, ...]]] = {
    Kind.USER: (EventType.USER_CREATED, EventType.USER_UPDATED),
    Kind.TRIP: (EventType.TRIP_CREATED, EventType.TRIP_UPDATED),
    Kind.MEMBERSHIP: (EventType.MEMBERSHIP_CREATED, EventType.MEMBERSHIP_UPDATED),
}
_EVENT_TYPES: Final[Mapping[str, EventType]] = {member.value: member for member in EventType}
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_TOO_EARLY: Final = (
    "is before 2000-01-01T00:00:00Z: probably a time that was never set; send when it happened"
)
_EVENT_ID_RULE: Final = "must be 1 to 255 visible ASCII characters"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One event of a batch, as far as it could be read.

    Attributes:
        event_id: as sent; None where it could not be read.
        event: None where the item is invalid.
        errors: what is wrong with it; empty where it is valid.
    """

    event_id: str | None
    event: Event | None
    errors: tuple[FieldError, ...]


class EventReader:
    """Reads bodies into events, by what this deployment knows.

    Args:
        roles: of memberships.
        statuses: of memberships.
        extra: fields beside the contract to let through, of the kinds that have any.
    """

    def __init__(
        self,
        *,
        roles: Sequence[str],
        statuses: Sequence[str],
        extra: Mapping[Kind, Sequence[str]] | None = None,
    ) -> None:
        self._choices = {"role": tuple(roles), "status": tuple(statuses)}
        # A removal has no row for them to stand in.
        self._extra = {
            event_type: tuple(names)
            for kind, names in (extra or {}).items()
            for event_type in _ROW_EVENTS[kind]
        }

    def read_event(self, event_id: str, body: bytes, *, now: Instant) -> Event:
        """Read the body of one webhook.

        Raises:
            InputInvalid: names every place that is wrong.
        """
        errors: list[FieldError] = []
        if not is_event_id(event_id):
            errors.append(FieldError("", f"webhook-id {_EVENT_ID_RULE}"))
        event = self._read_document(read_json(body), EventId(event_id), now, "", errors)
        if event is None:
            raise InputInvalid(errors)
        return event

    def read_batch(self, body: bytes, *, now: Instant) -> list[BatchItem]:
        """Read the body of a batch; an item that is wrong spoils no other.

        Raises:
            InputInvalid: it is not a batch of 1 to 1,000 events at all.
        """
        document = read_json(body)
        if not isinstance(document, dict):
            raise InputInvalid([FieldError("", "must be an object")])
        items = document.get("events")
        if not isinstance(items, list):
            raise InputInvalid([FieldError("/events", "must be an array")])
        if not 1 <= len(items) <= MAXIMUM_BATCH_EVENTS:
            raise InputInvalid(
                [FieldError("/events", f"must hold 1 to {MAXIMUM_BATCH_EVENTS} events")]
            )
        return [self._read_item(item, now, f"/events/{index}") for index, item in enumerate(items)]

    def _read_item(self, item: object, now: Instant, pointer: str) -> BatchItem:
        if not isinstance(item, dict):
            return BatchItem(None, None, (FieldError(pointer, "must be an object"),))
        errors: list[FieldError] = []
        event_id = item.get("id")
        if not isinstance(event_id, str) or not is_event_id(event_id):
            errors.append(FieldError(f"{pointer}/id", _EVENT_ID_RULE))
            event_id = None
        event = self._read_document(item, EventId(event_id or ""), now, pointer, errors)
        return BatchItem(event_id, event, tuple(errors))

    def _read_document(
        self,
        document: object,
        event_id: EventId,
        now: Instant,
        pointer: str,
        errors: list[FieldError],
    ) -> Event | None:
        if not isinstance(document, dict):
            errors.append(FieldError(pointer, "must be an object"))
            return None
        event_type = _read_type(document, pointer, errors)
        occurred_at = _read_timestamp(document, now, pointer, errors)
        data = self._read_data(document, event_type, pointer, errors)
        extra: Mapping[str, Scalar] | None = None
        if event_type in self._extra:
            extra = self._read_extra(document, event_type, pointer, errors)
        if errors or event_type is None or data is None or occurred_at is None:
            return None
        try:
            digest = digest_document(
                {
                    "type": document["type"],
                    "timestamp": document["timestamp"],
                    "data": document["data"],
                }
            )
        except InputInvalid:
            # Just shallow enough to be read and too deep to be written: this one alone is wrong.
            errors.append(FieldError(f"{pointer}/data", "is nested too deeply"))
            return None
        return make_event(event_id, event_type, occurred_at, data, digest, extra)

    def _read_data(
        self,
        document: dict[str, object],
        event_type: EventType | None,
        pointer: str,
        errors: list[FieldError],
    ) -> dict[str, str] | None:
        if "data" not in document:
            errors.append(FieldError(f"{pointer}/data", "is required"))
            return None
        if event_type is None:
            return None
        try:
            data = DATA_SCHEMAS[event_type].validate_python(document["data"])
        except ValidationError as error:
            errors.extend(_field_errors(error, f"{pointer}/data"))
            return None
        for field, choices in self._choices.items():
            if field in data and data[field] not in choices:
                errors.append(
                    FieldError(f"{pointer}/data/{field}", f"must be one of {', '.join(choices)}")
                )
        return data

    def _read_extra(
        self,
        document: dict[str, object],
        event_type: EventType,
        pointer: str,
        errors: list[FieldError],
    ) -> Mapping[str, Scalar] | None:
        data = document.get("data")
        if not isinstance(data, dict):
            return None
        return read_extra(data, self._extra[event_type], f"{pointer}/data", errors)


def is_event_id(text: str) -> bool:
    """Tell whether a text could be the webhook-id of a stored event."""
    return _EVENT_ID.fullmatch(text) is not None


def _read_type(
    document: dict[str, object], pointer: str, errors: list[FieldError]
) -> EventType | None:
    if "type" not in document:
        errors.append(FieldError(f"{pointer}/type", "is required"))
        return None
    value = document["type"]
    event_type = _EVENT_TYPES.get(value) if isinstance(value, str) else None
    if event_type is None:
        errors.append(FieldError(f"{pointer}/type", f"must be one of {', '.join(_EVENT_TYPES)}"))
    return event_type


def _read_timestamp(
    document: dict[str, object], now: Instant, pointer: str, errors: list[FieldError]
) -> Instant | None:
    if "timestamp" not in document:
        errors.append(FieldError(f"{pointer}/timestamp", "is required"))
        return None
    value = document["timestamp"]
    try:
        if not isinstance(value, str):
            raise TypeError("not a string")
        occurred_at = parse_timestamp(value)
    except (TypeError, ValueError):
        errors.append(
            FieldError(f"{pointer}/timestamp", "must be an RFC 3339 date-time with an offset")
        )
        return None
    if occurred_at < EARLIEST_TIMESTAMP:
        errors.append(FieldError(f"{pointer}/timestamp", _TOO_EARLY))
        return None
    if occurred_at > after(now, MAXIMUM_AHEAD_SECONDS):
        errors.append(
            FieldError(
                f"{pointer}/timestamp", f"is more than {MAXIMUM_AHEAD_SECONDS} s ahead of the clock"
            )
        )
        return None
    return occurred_at


def _field_errors(error: ValidationError, pointer: str) -> list[FieldError]:
    return [
        FieldError(
            pointer + write_pointer(*problem["loc"]),
            _describe(problem["type"], problem.get("ctx", {})),
        )
        for problem in error.errors(include_url=False, include_input=False)
    ]


def _describe(problem: str, context: Mapping[str, object]) -> str:
    match problem:
        case "missing":
            return "is required"
        case "string_type":
            return "must be a string"
        case "string_unicode":
            return "must not contain lone surrogates"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must be at most {context['max_length']} characters"
        case "string_pattern_mismatch" if context["pattern"] == UUID_PATTERN:
            return "must be a UUID"
        case "string_pattern_mismatch":
            return "must not contain NUL"
        case _:
            return "must be an object"
