"""Filters of events and revocations, shared by several endpoints."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.domain.contract import UUID_PATTERN
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key, split_membership_key
from app.domain.events import EventType
from app.domain.instants import Instant, parse_timestamp, to_datetime
from app.store.outcome_queries import MESSAGE_CHARACTERS

MAXIMUM_TYPES: Final = 50

TYPE_PATTERNS: Final[dict[str, tuple[EventType, ...]]] = {
    **{event_type.value: (event_type,) for event_type in EventType},
    **{
        f"{kind}.*": tuple(each for each in EventType if each.startswith(f"{kind}."))
        for kind in Kind
    },
}
_UUID: Final = re.compile(UUID_PATTERN)
_EXAMPLE_ID: Final = "456e7890-e89b-12d3-a456-426614174001"


def _read_instant(value: object) -> Instant:
    try:
        return parse_timestamp(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError("must be an RFC 3339 date-time with an offset") from error


def _read_types(value: object) -> Sequence[EventType]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAXIMUM_TYPES:
        raise ValueError(f"must be a list of 1 to {MAXIMUM_TYPES} types")
    chosen: set[EventType] = set()
    for pattern in value:
        if not isinstance(pattern, str) or pattern not in TYPE_PATTERNS:
            raise ValueError(f"must each be one of {', '.join(TYPE_PATTERNS)}")
        chosen.update(TYPE_PATTERNS[pattern])
    return tuple(event_type for event_type in EventType if event_type in chosen)


def _split_at_commas(value: object) -> object:
    if isinstance(value, list):
        return [pattern for text in value for pattern in str(text).split(",")]
    return value


def _read_id(value: object) -> str:
    if not isinstance(value, str) or _UUID.fullmatch(value) is None:
        raise ValueError("must be a UUID")
    return value.lower()


def _read_entity(kind: object, key: object) -> EntityRef:
    if not isinstance(kind, str) or kind not in set(Kind):
        raise ValueError(f"kind must be one of {', '.join(Kind)}")
    if not isinstance(key, str):
        raise ValueError("key must be a string")
    if Kind(kind) is not Kind.MEMBERSHIP:
        if _UUID.fullmatch(key) is None:
            raise ValueError("key must be a UUID")
        return EntityRef(Kind(kind), EntityKey(key.lower()))
    trip_id, user_id = split_membership_key(EntityKey(key))
    if _UUID.fullmatch(trip_id) is None or _UUID.fullmatch(user_id) is None:
        raise ValueError("key must be <trip_id>/<user_id>")
    return EntityRef(Kind.MEMBERSHIP, membership_key(trip_id.lower(), user_id.lower()))


def _read_entity_path(value: object) -> EntityRef:
    # FastAPI collects the values in a list, as an EntityRef is a tuple.
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, str):
        raise ValueError("must be <kind>/<key>")
    kind, _, key = value.partition("/")
    return _read_entity(kind, key)


def _read_entity_object(value: object) -> EntityRef:
    if not isinstance(value, dict) or set(value) != {"kind", "key"}:
        raise ValueError("must be an object with kind and key")
    return _read_entity(value["kind"], value["key"])


InstantText = Annotated[
    Instant,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

Moment = Annotated[
    datetime, BeforeValidator(lambda it: to_datetime(Instant(it)) if isinstance(it, int) else it)
]
"""An instant in a response."""

Types = Annotated[
    tuple[EventType, ...],
    BeforeValidator(_read_types),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAXIMUM_TYPES,
            "items": {"type": "string", "enum": list(TYPE_PATTERNS)},
        }
    ),
]
"""Event types; a pattern such as `membership.*` stands for all types of a kind."""

TypesParameter = Annotated[Types, BeforeValidator(_split_at_commas)]

Entity = Annotated[
    EntityRef,
    BeforeValidator(_read_entity_object),
    WithJsonSchema(
        {
            "type": "object",
            "required": ["kind", "key"],
            "additionalProperties": False,
            "properties": {
                "kind": {"type": "string", "enum": list(Kind)},
                "key": {
                    "type": "string",
                    "description": "The id, or `<trip_id>/<user_id>` of a membership.",
                    "examples": [_EXAMPLE_ID],
                },
            },
        }
    ),
]

Id = Annotated[
    str,
    BeforeValidator(_read_id),
    WithJsonSchema({"type": "string", "format": "uuid", "examples": [_EXAMPLE_ID]}),
]

EntityPath = Annotated[
    EntityRef,
    BeforeValidator(_read_entity_path),
    WithJsonSchema({"type": "string", "examples": [f"trip/{_EXAMPLE_ID}"]}),
]

# PostgreSQL does not accept NUL.
ErrorCode = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
ErrorMessage = Annotated[
    str, Field(min_length=1, max_length=MESSAGE_CHARACTERS, pattern=r"^[^\x00]*$")
]

ERROR_CODE: Final = "Events whose entity is pending or dead with this `last_error_code`."
ERROR: Final = "Events whose entity is pending or dead with exactly this `last_error`."


class PageQuery(BaseModel):
    """A page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=200)
    cursor: str | None = Field(None, description="`next_cursor` of the previous page.")


def check_range(since: int | None, until: int | None) -> None:
    """Reject an empty range.

    Raises:
        ValueError: `until` is not later than `since`.
    """
    if since is not None and until is not None and since >= until:
        raise ValueError("until must be later than since")
