"""`GET /events/{event_id}`: what happened to one event."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from app.api.dependencies import Operator, ServicesDependency
from app.auth.tokens import Scope
from app.domain.contract import is_event_id
from app.domain.entities import EventStatus, Kind
from app.domain.errors import EventNotFound
from app.domain.events import EventId, EventType
from app.domain.history import StoredEvent
from app.domain.instants import Instant, to_datetime

router = APIRouter(tags=["events"])


class EntityBody(BaseModel):
    """The entity that an event moved, as it stands now."""

    kind: Kind
    key: str = Field(description="The id, or `<trip_id>/<user_id>` of a membership.")
    state: str = Field(description="`pending`, `applied` or `dead`.")
    desired_version_at: datetime = Field(description="When the desired state came about.")
    applied_at: datetime | None = Field(description="When Supabase was last known to hold it.")
    attempts: int = Field(description="Refusals of the desired row so far.")
    next_attempt_at: datetime | None = Field(description="Null unless pending.")
    last_error_code: str | None = Field(description="SQLSTATE, PostgREST code or HTTP status.")
    last_error: str | None


class EventBody(BaseModel):
    """One event and what became of it."""

    event_id: str
    type: EventType
    status: EventStatus
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
                desired_version_at=to_datetime(entity.desired_at),
                applied_at=_to_datetime(entity.applied_at),
                attempts=entity.attempts,
                next_attempt_at=_to_datetime(entity.next_attempt_at),
                last_error_code=entity.last_error_code,
                last_error=entity.last_error,
            ),
        )


@router.get("/events/{event_id:path}", operation_id="getEvent", summary="Look up one event")
async def get_event(
    event_id: Annotated[str, Path(description="The webhook-id.")],
    services: ServicesDependency,
    operator: Operator,
) -> EventBody:
    """Give one event, its entity, status, attempts and last error. Needs `events:read`."""
    await operator.admit(Scope.EVENTS_READ)
    event = None
    if is_event_id(event_id):
        event = await services.store.find_event(EventId(event_id))
    if event is None:
        raise EventNotFound
    return EventBody.of(event)


def _to_datetime(instant: Instant | None) -> datetime | None:
    return None if instant is None else to_datetime(instant)
