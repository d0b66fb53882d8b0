"""`GET /events` and `GET /events/{event_id}`: what came in, and what happened to it."""

from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.cursors import read_cursor, write_cursor
from app.api.dependencies import Operator, ServicesDependency
from app.api.filters import EntityPath, InstantText, TypesParameter, check_range
from app.api.validation import REPEATABLE, describe_query, read_query
from app.auth.tokens import Scope
from app.domain.criteria import Criteria, write_criteria
from app.domain.entities import EntityState, EventStatus, Kind
from app.domain.errors import EventNotFound
from app.domain.event_reader import is_event_id
from app.domain.events import EventId, EventType
from app.domain.history import EventCursor, StoredEvent
from app.domain.instants import Instant, to_datetime

router = APIRouter(tags=["events"])

MAXIMUM_LIMIT: Final = 200


class EntityBody(BaseModel):
    """The entity that an event moved, as it stands now."""

    kind: Kind
    key: str = Field(description="The id, or `<trip_id>/<user_id>` of a membership.")
    state: EntityState
    is_removed: bool = Field(description="Whether no row of it should be in Supabase.")
    desired_version_at: datetime = Field(description="When the desired state came about.")
    applied_version_at: datetime | None = Field(
        description="The same of the state that Supabase was last known to hold."
    )
    applied_at: datetime | None = Field(description="When Supabase was last known to hold it.")
    pending_since: datetime | None = Field(description="Null unless pending.")
    attempts: int = Field(description="Refusals of the desired row so far.")
    next_attempt_at: datetime | None = Field(description="Null unless pending.")
    last_error_code: str | None = Field(description="SQLSTATE, PostgREST code or HTTP status.")
    last_error: str | None


class EventBody(BaseModel):
    """One event and what became of it."""

    event_id: str
    type: EventType
    status: EventStatus = Field(
        description="`superseded` as soon as its entity has moved past it; else the entity's state."
    )
    timestamp: datetime = Field(description="When the source says that it happened.")
    received_at: datetime
    entity: EntityBody

    @classmethod
    def of(cls, event: StoredEvent) -> "EventBody":
        """Write a stored event. Its data stays in the store: it may be personal."""
        entity = event.entity
        return cls(
            event_id=event.event_id,
            type=event.type,
            status=event.status,
            timestamp=to_datetime(event.occurred_at),
            received_at=to_datetime(event.received_at),
            entity=EntityBody(
                kind=entity.ref.kind,
                key=entity.ref.key,
                state=entity.state,
                is_removed=entity.is_removed,
                desired_version_at=to_datetime(entity.desired_at),
                applied_version_at=_to_datetime(entity.applied_version_at),
                applied_at=_to_datetime(entity.applied_at),
                pending_since=_to_datetime(entity.pending_since),
                attempts=entity.attempts,
                next_attempt_at=_to_datetime(entity.next_attempt_at),
                last_error_code=entity.last_error_code,
                last_error=entity.last_error,
            ),
        )


class EventList(BaseModel):
    """A page of events, newest first."""

    events: list[EventBody]
    next_cursor: str | None = Field(
        description="Where to go on; null at the end. A page may hold fewer events than `limit`,"
        " even none, while this is not null."
    )


class EventQuery(BaseModel):
    """Which events; every criterion given must be met."""

    model_config = ConfigDict(extra="forbid")

    since: InstantText | None = Field(None, description="Received then or later.")
    until: InstantText | None = Field(None, description="Received before then.")
    types: TypesParameter | None = Field(
        None,
        description="Types, or all of a kind as `membership.*`; by commas or several times.",
        json_schema_extra=REPEATABLE,
    )
    entity: EntityPath | None = Field(
        None, description="`user/<id>`, `trip/<id>` or `membership/<trip_id>/<user_id>`."
    )
    status: EventStatus | None = Field(None, description="Events that stand there now.")
    limit: int = Field(50, ge=1, le=MAXIMUM_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        check_range(self.since, self.until)
        return self

    @property
    def criteria(self) -> Criteria:
        """What is asked for."""
        return Criteria(
            since=None if self.since is None else Instant(self.since),
            until=None if self.until is None else Instant(self.until),
            types=self.types,
            entity=self.entity,
            status=self.status,
        )


_QUERY: Final[dict[str, Any]] = {"parameters": describe_query(EventQuery)}


@router.get("/events", operation_id="listEvents", summary="List events", openapi_extra=_QUERY)
async def list_events(
    request: Request, services: ServicesDependency, operator: Operator
) -> EventList:
    """Give the events that meet every criterion, newest first. Needs `events:read`.

    Events that arrive meanwhile change nothing in the pages that follow.
    """
    await operator.authorize(Scope.EVENTS_READ)
    query = read_query(EventQuery, request.query_params.multi_items())
    listing = f"events {write_criteria(query.criteria)}"
    before = None
    if query.cursor is not None:
        received_at, sequence = read_cursor(query.cursor, listing, numbers=2)
        before = EventCursor(Instant(received_at), sequence)
    page = await services.store.read_event_page(query.criteria, before, query.limit)
    return EventList(
        events=[EventBody.of(event) for event in page.events],
        next_cursor=None if page.next_cursor is None else write_cursor(page.next_cursor, listing),
    )


@router.get("/events/{event_id:path}", operation_id="getEvent", summary="Look up one event")
async def get_event(
    event_id: Annotated[str, Path(description="The webhook-id.")],
    services: ServicesDependency,
    operator: Operator,
) -> EventBody:
    """Give one event, its entity, status, attempts and last error. Needs `events:read`."""
    await operator.authorize(Scope.EVENTS_READ)
    event = None
    if is_event_id(event_id):
        event = await services.store.find_event(EventId(event_id))
    if event is None:
        raise EventNotFound
    return EventBody.of(event)


def _to_datetime(instant: Instant | None) -> datetime | None:
    return None if instant is None else to_datetime(instant)
