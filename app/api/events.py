"""`GET /events` and `GET /events/{event_id}`: received events and their outcomes."""

from typing import Annotated, Final, Self

from fastapi import APIRouter, Path, Query
from pydantic import AliasPath, BaseModel, ConfigDict, Field, model_validator

from app.api.cursors import read_cursor, write_cursor
from app.api.dependencies import EventAccess, ServicesDependency, UniqueParameters
from app.api.filters import (
    ERROR,
    ERROR_CODE,
    EntityPath,
    ErrorCode,
    ErrorMessage,
    InstantText,
    Moment,
    TypesParameter,
    check_range,
)
from app.api.problems import OPERATOR_ERRORS, describe_problems
from app.api.services import Services
from app.domain.criteria import Criteria, write_criteria
from app.domain.entities import EntityState, EventStatus, Kind
from app.domain.errors import EventNotFound, InputInvalid
from app.domain.event_reader import is_event_id
from app.domain.events import EventId, EventType
from app.domain.history import EventCursor
from app.domain.instants import Instant
from app.store import event_queries

router = APIRouter(tags=["events"], responses=describe_problems(*OPERATOR_ERRORS))

MAXIMUM_LIMIT: Final = 200


class EntityBody(BaseModel):
    """The current state of an event's entity."""

    model_config = ConfigDict(from_attributes=True)

    kind: Kind = Field(validation_alias=AliasPath("ref", "kind"))
    key: str = Field(
        validation_alias=AliasPath("ref", "key"),
        description="The id, or `<trip_id>/<user_id>` of a membership.",
    )
    state: EntityState
    is_removed: bool = Field(description="Whether the desired state is a tombstone: no row.")
    desired_version_at: Moment = Field(
        validation_alias="desired_at", description="Timestamp of the desired version."
    )
    applied_version_at: Moment | None = Field(
        description="Timestamp of the version that Supabase was last known to hold."
    )
    applied_at: Moment | None = Field(description="When that version was applied.")
    pending_since: Moment | None = Field(description="Null unless pending.")
    attempts: int = Field(description="Failed attempts to apply the desired version.")
    next_attempt_at: Moment | None = Field(
        description="The earliest time of the next attempt: not before the next probe while"
        " Supabase is unavailable. Null unless pending, and while no replica dispatches."
    )
    last_error_code: str | None = Field(description="SQLSTATE, PostgREST code or HTTP status.")
    last_error: str | None


class EventBody(BaseModel):
    """An event and its outcome. Its data may be personal, and is not shown."""

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    type: EventType
    status: EventStatus = Field(
        description="`superseded` if the entity has a later version; else the entity's state."
    )
    timestamp: Moment = Field(
        validation_alias="occurred_at", description="When the change happened at the source."
    )
    received_at: Moment
    request_id: str | None = Field(
        description="`X-Request-Id` of the request that brought it; its trace id if only"
        " `traceparent` was given; null without both, unless the relay exported its trace."
    )
    trace_id: str | None = Field(
        description="The trace id of its `traceparent` (W3C), or of the trace that the relay began."
    )
    entity: EntityBody


class EventList(BaseModel):
    """A page of events, newest first."""

    events: list[EventBody]
    next_cursor: str | None = Field(
        description="Cursor of the next page; null on the last one. A page may hold fewer events"
        " than `limit`, or none, before the last one."
    )


class EventQuery(BaseModel):
    """Filters of events. An event must match all of them."""

    model_config = ConfigDict(extra="forbid")

    since: InstantText | None = Field(None, description="Received at this time or later.")
    until: InstantText | None = Field(None, description="Received before this time.")
    types: TypesParameter | None = Field(
        None,
        description="Types, or all types of a kind as `membership.*`. Separate them by commas or"
        " repeat the parameter.",
    )
    entity: EntityPath | None = Field(
        None, description="`user/<id>`, `trip/<id>` or `membership/<trip_id>/<user_id>`."
    )
    status: EventStatus | None = Field(None, description="Events with this status now.")
    error_code: ErrorCode | None = Field(None, description=ERROR_CODE)
    error: ErrorMessage | None = Field(None, description=ERROR)
    limit: int = Field(50, ge=1, le=MAXIMUM_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the previous page.")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        check_range(self.since, self.until)
        return self

    @property
    def criteria(self) -> Criteria:
        """The filters without the page."""
        return Criteria(
            since=self.since,
            until=self.until,
            types=self.types,
            entity=self.entity,
            status=self.status,
            error_code=self.error_code,
            error=self.error,
        )


@router.get(
    "/events",
    operation_id="listEvents",
    summary="List events",
    responses=describe_problems(InputInvalid),
)
async def list_events(
    _: EventAccess,
    __: UniqueParameters,
    query: Annotated[EventQuery, Query()],
    services: ServicesDependency,
) -> EventList:
    """List matching events, newest first. Events received meanwhile do not shift the next pages.

    Needs `events:read`.
    """
    return await read_events(services, query)


async def read_events(services: Services, query: EventQuery) -> EventList:
    """Read a page of events.

    Raises:
        InputInvalid: the cursor is not of this listing.
    """
    listing = f"events {write_criteria(query.criteria)}"
    before = None
    if query.cursor is not None:
        received_at, sequence = read_cursor(query.cursor, listing, length=2)
        before = EventCursor(Instant(received_at), sequence)
    page = await services.store.search(
        event_queries.read_event_page, query.criteria, before, query.limit
    )
    following = page.next_cursor
    return EventList(
        events=[
            EventBody.model_validate(event)
            for event in await services.leader.correct_attempts(page.events)
        ],
        next_cursor=None if following is None else write_cursor(following, listing),
    )


@router.get(
    "/events/{event_id:path}",
    operation_id="getEvent",
    summary="Get an event",
    responses=describe_problems(EventNotFound),
)
async def get_event(
    event_id: Annotated[str, Path(description="The webhook-id.")],
    _: EventAccess,
    services: ServicesDependency,
) -> EventBody:
    """Get an event, its entity, status, attempts and last error. Needs `events:read`."""
    return await read_event(services, event_id)


async def read_event(services: Services, event_id: str) -> EventBody:
    """Read an event.

    Raises:
        EventNotFound: it is not stored.
    """
    event = (
        await services.store.read(event_queries.find_event, EventId(event_id))
        if is_event_id(event_id)
        else None
    )
    if event is None:
        raise EventNotFound
    (corrected,) = await services.leader.correct_attempts([event])
    return EventBody.model_validate(corrected)
