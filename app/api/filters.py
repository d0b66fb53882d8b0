"""Which events are meant, as operators say it: the criteria of `/events` and `/replay` alike."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from app.domain.contract import UUID_PATTERN
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key, split_membership_key
from app.domain.events import EventType
from app.domain.instants import Instant, parse_timestamp

MAXIMUM_TYPES: Final = 50

_TYPES: Final[dict[str, tuple[EventType, ...]]] = {
    **{event_type.value: (event_type,) for event_type in EventType},
    **{
        f"{kind}.*": tuple(each for each in EventType if each.startswith(f"{kind}."))
        for kind in Kind
    },
}
_UUID: Final = re.compile(UUID_PATTERN)
_EXAMPLE_ID: Final = "456e7890-e89b-12d3-a456-426614174001"


def _read_instant(value: object) -> Instant:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 date-time with an offset")
    try:
        return parse_timestamp(value)
    except ValueError as error:
        raise ValueError("must be an RFC 3339 date-time with an offset") from error


def _read_types(value: object) -> tuple[EventType, ...]:
    """Give the types that patterns name: a type, or all of a kind as `membership.*`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAXIMUM_TYPES:
        raise ValueError(f"must be a list of 1 to {MAXIMUM_TYPES} types")
    chosen: set[EventType] = set()
    for pattern in value:
        if not isinstance(pattern, str) or pattern not in _TYPES:
            raise ValueError(f"must each be one of {', '.join(_TYPES)}")
        chosen.update(_TYPES[pattern])
    return tuple(event_type for event_type in EventType if event_type in chosen)


def _split_types(value: object) -> object:
    """Take several in one parameter, separated by commas, as well as several parameters."""
    if isinstance(value, list):
        return [pattern for text in value for pattern in str(text).split(",")]
    return value


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
    if not isinstance(value, str):
        raise ValueError("must be <kind>/<key>")
    kind, _, key = value.partition("/")
    return _read_entity(kind, key)


def _read_entity_document(value: object) -> EntityRef:
    if not isinstance(value, dict) or set(value) != {"kind", "key"}:
        raise ValueError("must be an object of kind and key")
    return _read_entity(value["kind"], value["key"])


InstantText = Annotated[
    int,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An RFC 3339 date-time with an offset, as an instant."""

_TYPES_SCHEMA: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAXIMUM_TYPES,
    "items": {"type": "string", "enum": list(_TYPES)},
}

Types = Annotated[
    tuple[EventType, ...], BeforeValidator(_read_types), WithJsonSchema(_TYPES_SCHEMA)
]
"""A list of types and patterns, as the types that they name."""

TypesParameter = Annotated[Types, BeforeValidator(_split_types)]
"""The same from a query."""

Entity = Annotated[
    EntityRef,
    BeforeValidator(_read_entity_document),
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
"""An entity as `{"kind", "key"}`."""

EntityPath = Annotated[
    EntityRef,
    BeforeValidator(_read_entity_path),
    WithJsonSchema({"type": "string", "examples": [f"trip/{_EXAMPLE_ID}"]}),
]
"""An entity as `<kind>/<key>`."""


def check_range(since: int | None, until: int | None) -> None:
    """Refuse a range that nothing can lie in.

    Raises:
        ValueError: it is reversed or empty.
    """
    if since is not None and until is not None and since >= until:
        raise ValueError("until must be later than since")
