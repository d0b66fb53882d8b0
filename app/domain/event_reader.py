"""Reading request bodies into events, or into errors by JSON pointer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from app.domain.contract import (
    DATA_SCHEMAS,
    EARLIEST_TIMESTAMP,
    MAXIMUM_AHEAD_SECONDS,
    MAXIMUM_BATCH_EVENTS,
    UUID_PATTERN,
)
from app.domain.documents import digest_document, read_json, write_pointer
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.domain.events import DELETIONS, KINDS, Event, EventId, EventType, make_event
from app.domain.extra_fields import read_extra_fields
from app.domain.instants import Instant, after, parse_timestamp

_EVENT_TYPES: Final[Mapping[str, EventType]] = {member.value: member for member in EventType}
_EVENT_ID: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_EVENT_ID_RULE: Final = "must be 1 to 255 visible ASCII characters"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One event of a batch.

    Attributes:
        event_id: as sent; None if it is missing or invalid.
        event: None if the item is invalid.
        errors: empty if the item is valid.
    """

    event_id: str | None
    event: Event | None
    errors: tuple[FieldError, ...]


class EventReader:
    """Reads request bodies into events.

    Args:
        roles: the membership roles of this deployment.
        statuses: the membership statuses of this deployment.
        extra_fields: the fields beyond the contract to keep, by kind.
    """

    def __init__(
        self,
        *,
        roles: Sequence[str],
        statuses: Sequence[str],
        extra_fields: Mapping[Kind, Sequence[str]] | None = None,
    ) -> None:
        self._choices = {"role": tuple(roles), "status": tuple(statuses)}
        # A deletion has no row that could hold extra fields.
        self._extra_fields = {
            event_type: tuple((extra_fields or {}).get(kind, ()))
            for event_type, kind in KINDS.items()
            if event_type not in DELETIONS
        }

    def read_event(self, event_id: str, body: bytes, *, now: Instant) -> Event:
        """Read the body of one webhook.

        Raises:
            InputInvalid: names every field that is wrong.
        """
        errors: list[FieldError] = []
        if not is_event_id(event_id):
            errors.append(FieldError("", f"webhook-id {_EVENT_ID_RULE}"))
        event = self._read_document(read_json(body), EventId(event_id), now, "", errors)
        if event is None:
            raise InputInvalid(errors)
        return event

    def read_row(self, kind: Kind, sent: object) -> dict[str, str]:
        """Read the row of an entity, as the `data` of its `created` event.

        Returns:
            The contract's fields, in the contract's order.

        Raises:
            InputInvalid: names every field that is wrong, by pointers that begin with `/data`.
        """
        errors: list[FieldError] = []
        data = self._validate_data(EventType(f"{kind}.created"), sent, "/data", errors)
        if data is None or errors:
            raise InputInvalid(errors)
        return data

    def read_batch(self, body: bytes, *, now: Instant) -> list[BatchItem]:
        """Read the body of a batch; an invalid item does not affect the others.

        Raises:
            InputInvalid: the body is not a batch of 1 to 1,000 events.
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
        errors: list[FieldError] = []
        event_id = item.get("id") if isinstance(item, dict) else None
        if isinstance(item, dict) and not (isinstance(event_id, str) and is_event_id(event_id)):
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
        """Return the event, or None after adding to `errors`."""
        if not isinstance(document, dict):
            errors.append(FieldError(pointer, "must be an object"))
            return None
        event_type = _read_type(document, pointer, errors)
        occurred_at = _read_timestamp(document, now, pointer, errors)
        if "data" not in document:
            errors.append(FieldError(f"{pointer}/data", "is required"))
            return None
        if event_type is None:
            return None
        sent = document["data"]
        data = self._validate_data(event_type, sent, f"{pointer}/data", errors)
        extra_names = self._extra_fields.get(event_type)
        extra = None
        if extra_names and isinstance(sent, dict):
            extra = read_extra_fields(sent, extra_names, f"{pointer}/data", errors)
        if errors or data is None or occurred_at is None:
            return None
        try:
            digest = digest_document(
                {"type": document["type"], "timestamp": document["timestamp"], "data": sent}
            )
        except InputInvalid:
            # Shallow enough to be read but too deep to be written: only this event is invalid.
            errors.append(FieldError(f"{pointer}/data", "is nested too deeply"))
            return None
        return make_event(event_id, event_type, occurred_at, data, digest, extra)

    def _validate_data(
        self, event_type: EventType, sent: object, pointer: str, errors: list[FieldError]
    ) -> dict[str, str] | None:
        try:
            data = DATA_SCHEMAS[event_type].validate_python(sent)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                detail = _describe(problem["type"], problem.get("ctx", {}))
                errors.append(FieldError(pointer + write_pointer(*problem["loc"]), detail))
            return None
        for field, choices in self._choices.items():
            if field in data and data[field] not in choices:
                detail = f"must be one of {', '.join(choices)}"
                errors.append(FieldError(f"{pointer}/{field}", detail))
        return data


def is_event_id(text: str) -> bool:
    """Tell whether a text is a valid webhook-id."""
    return _EVENT_ID.fullmatch(text) is not None


def _read_type(
    document: Mapping[str, object], pointer: str, errors: list[FieldError]
) -> EventType | None:
    value = document.get("type")
    event_type = _EVENT_TYPES.get(value) if isinstance(value, str) else None
    if event_type is None:
        detail = f"must be one of {', '.join(_EVENT_TYPES)}"
        if "type" not in document:
            detail = "is required"
        errors.append(FieldError(f"{pointer}/type", detail))
    return event_type


def _read_timestamp(
    document: Mapping[str, object], now: Instant, pointer: str, errors: list[FieldError]
) -> Instant | None:
    value = document.get("timestamp")
    try:
        occurred_at = parse_timestamp(value if isinstance(value, str) else "")
    except ValueError:
        detail = "must be an RFC 3339 date-time with an offset"
        if "timestamp" not in document:
            detail = "is required"
    else:
        if EARLIEST_TIMESTAMP <= occurred_at <= after(now, MAXIMUM_AHEAD_SECONDS):
            return occurred_at
        detail = f"is more than {MAXIMUM_AHEAD_SECONDS} s ahead of the clock"
        if occurred_at < EARLIEST_TIMESTAMP:
            detail = "is before 2000-01-01T00:00:00Z: the sender probably never set it"
    errors.append(FieldError(f"{pointer}/timestamp", detail))
    return None


def _describe(problem: str, context: Mapping[str, object]) -> str:
    """Describe an error type of pydantic."""
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
