"""The bodies and the query of `/replay`."""

import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.api.filters import (
    ERROR,
    ERROR_CODE,
    Entity,
    ErrorCode,
    ErrorMessage,
    InstantText,
    Moment,
    Types,
    check_range,
)
from app.domain.criteria import Criteria
from app.domain.entities import EntityState, EventStatus
from app.domain.events import EventId
from app.domain.history import ReplayStatus
from app.domain.instants import Instant, to_datetime

_MAXIMUM_IDS: Final = 10_000
_LISTED_IDS: Final = 20
_FILTERS: Final = (
    "event_ids",
    "since",
    "until",
    "types",
    "entity",
    "status",
    "error_code",
    "error",
)


# null is no filter.
_ANY_FILTER: Final[Any] = {
    "anyOf": [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in _FILTERS
    ]
}
_EVERYTHING: Final[Any] = {"required": ["all"], "properties": {"all": {"const": True}}}


class ReplayBody(BaseModel):
    """Filters of the events to replay. An event must match all of them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            # Client generators ignore it. Of an anyOf they would make six types.
            "if": _EVERYTHING,
            "then": {"not": _ANY_FILTER},
            "else": _ANY_FILTER,
            "examples": [
                {"types": ["membership.*"], "since": "2026-01-02T03:00:00Z", "dry_run": True},
                {"status": "dead", "error_code": "23514"},
                {"all": True},
            ],
        },
    )

    event_ids: Annotated[list[EventId], Field(min_length=1, max_length=_MAXIMUM_IDS)] | None = (
        Field(None, description="Events with these ids.")
    )
    since: InstantText | None = Field(None, description="Received at this time or later.")
    until: InstantText | None = Field(None, description="Received before this time.")
    types: Types | None = Field(None, description="Types, or all types of a kind: `membership.*`.")
    entity: Entity | None = Field(None, description="Events of this entity.")
    status: Annotated[EntityState, Field(strict=False)] | None = Field(
        None, description="Events with this status now."
    )
    error_code: ErrorCode | None = Field(None, description=ERROR_CODE)
    error: ErrorMessage | None = Field(None, description=ERROR)
    all: bool = Field(False, description="All events, instead of filters.")
    dry_run: bool = Field(False, description="Count the entities only.")

    @model_validator(mode="after")
    def _require_filter(self) -> Self:
        has_filter = any(getattr(self, name) is not None for name in _FILTERS)
        if self.all and has_filter:
            raise ValueError("all cannot be combined with a filter")
        if not self.all and not has_filter:
            raise ValueError(f'give a filter ({", ".join(_FILTERS)}) or {{"all": true}}')
        check_range(self.since, self.until)
        return self

    @property
    def criteria(self) -> Criteria:
        """The filters."""
        return Criteria(
            event_ids=None if self.event_ids is None else tuple(self.event_ids),
            since=self.since,
            until=self.until,
            types=self.types,
            entity=self.entity,
            status=None if self.status is None else EventStatus(self.status.value),
            error_code=self.error_code,
            error=self.error,
        )


class ReplayResult(BaseModel):
    """A replay that was started."""

    replay_id: str | None = Field(description="Null for a dry run.")
    matched_events: int
    entities: int = Field(description="Entities to re-sync.")
    status: ReplayStatus | Literal["dry_run"] = Field(
        description="`completed`: every entity is queued; `running`: not yet."
    )


def write_filter(criteria: str) -> dict[str, Any]:
    """Convert stored criteria to the form of `ReplayBody`."""
    given: dict[str, Any] = json.loads(criteria)
    for name in ("since", "until"):
        if name in given:
            given[name] = to_datetime(Instant(given[name])).isoformat().replace("+00:00", "Z")
    if "entity" in given:
        given["entity"] = dict(zip(("kind", "key"), given["entity"], strict=True))
    return given


class ReplayReport(BaseModel):
    """A replay and its progress."""

    model_config = ConfigDict(from_attributes=True)

    replay_id: str
    requested_at: Moment
    requested_by: str | None = Field(description="The subject of the token.")
    filter: Annotated[dict[str, Any], BeforeValidator(write_filter)] = Field(
        validation_alias="criteria",
        description=f"As requested; empty for all events. A list shows the first {_LISTED_IDS} of"
        " `event_ids`, and the number of the others as `event_ids_omitted`.",
    )
    status: ReplayStatus = Field(
        description="`completed`: every entity is queued; `failed`: given up, though queued"
        " entities are still applied."
    )
    matched_events: int = Field(validation_alias=AliasPath("matches", "events"))
    entities: int = Field(
        validation_alias=AliasPath("matches", "entities"),
        description="Entities to re-sync when the replay was requested.",
    )
    marked: int = Field(
        description="Entities queued so far, in the order of their keys. May end above or below"
        " `entities`, as entities change meanwhile."
    )
    applied: int = Field(description="Queued entities that were applied.")
    waiting: int = Field(description="Queued entities that are still pending.")
    dead: int = Field(description="Queued entities that Supabase rejected for good.")
    superseded: int = Field(description="Queued entities that a later replay queued again.")

    def shorten(self) -> Self:
        """List few of many event ids."""
        ids = self.filter.get("event_ids", [])
        if len(ids) > _LISTED_IDS:
            self.filter |= {
                "event_ids": ids[:_LISTED_IDS],
                "event_ids_omitted": len(ids) - _LISTED_IDS,
            }
        return self


class ReplayList(BaseModel):
    """A page of replays, newest first."""

    replays: list[ReplayReport]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")
