"""`GET /status`: what `/health` leaves out because it is open, for operators."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.dependencies import EventAccess, ServicesDependency
from app.api.events import EventBody
from app.api.filters import Moment
from app.api.health import VERSION
from app.api.problems import OPERATOR_ERRORS, describe_problems
from app.api.revocations import ExposureSummaryBody
from app.domain.entities import Kind
from app.domain.instants import to_datetime
from app.relay.dispatcher_status import DispatcherStatus
from app.relay.status import CAUSES, EVENTS, Status

router = APIRouter(tags=["events"], responses=describe_problems(*OPERATOR_ERRORS))


class CircuitBreakerBody(BaseModel):
    """The circuit breaker in front of Supabase; open while Supabase is unavailable."""

    is_open: bool
    opened_at: Moment | None = Field(description="Null unless open.")
    next_probe_at: Moment | None = Field(
        description="Null unless open. Until then, nothing is written to Supabase."
    )
    code: str | None = Field(description="SQLSTATE, PostgREST code, HTTP status or network error.")
    message: str | None


class HeldRowsBody(BaseModel):
    """Writes or deletes that wait because their table is misconfigured."""

    model_config = ConfigDict(from_attributes=True)

    kind: Kind
    is_delete: bool = Field(description="Whether the deletes wait; else the writes.")
    next_trial_at: Moment = Field(description="When one of the rows is tried.")


class DeadCauseBody(BaseModel):
    """Why entities of one kind are dead."""

    model_config = ConfigDict(from_attributes=True)

    kind: Kind
    code: str = Field(description="SQLSTATE.")
    message: str = Field(description="Names the constraint; without values of the row.")
    entities: int


class StatusBody(BaseModel):
    """The status of the relay."""

    version: str
    at: Moment = Field(description="The relay's time.")
    replica: str = Field(description="The replica that responds: its host and process id.")
    leader: str | None = Field(description="The replica that dispatches; null if none does.")
    circuit_breaker: CircuitBreakerBody | None = Field(
        description="The leader's; null if no replica dispatches."
    )
    held_rows: list[HeldRowsBody] = Field(description="Empty unless a table is misconfigured.")
    dead: list[DeadCauseBody] = Field(
        description=f"The {CAUSES} most frequent causes among 10,000 dead entities."
    )
    revocations: ExposureSummaryBody | None = Field(
        description="Exposure in the last hour, as `GET /revocations` measures it; null if there"
        " are too many revocations to measure it in time."
    )
    events: list[EventBody] = Field(description=f"The {EVENTS} latest events.")


@router.get("/status", operation_id="getStatus", summary="Get status")
async def get_status(
    _: EventAccess, services: ServicesDependency, response: Response
) -> StatusBody:
    """Get what an operator wants to see first; `GET /health` has the rest. Needs `events:read`."""
    response.headers["Cache-Control"] = "no-store"
    return make_status_body(await services.status.report())


def make_status_body(status: Status) -> StatusBody:
    """Make the body of a response."""
    leader = status.leader
    return StatusBody(
        version=VERSION,
        at=to_datetime(status.at),
        replica=status.replica,
        leader=None if leader is None else leader.name,
        circuit_breaker=None if leader is None else _describe_breaker(leader.status),
        held_rows=[
            HeldRowsBody.model_validate(held)
            for held in (() if leader is None else leader.status.held_rows)
        ],
        dead=[DeadCauseBody.model_validate(cause) for cause in status.dead],
        revocations=None
        if status.exposure is None
        else ExposureSummaryBody.model_validate(status.exposure),
        events=[EventBody.model_validate(event) for event in status.events],
    )


def _describe_breaker(status: DispatcherStatus) -> CircuitBreakerBody:
    failure = status.failure
    return CircuitBreakerBody.model_validate(
        {
            "is_open": failure is not None,
            "opened_at": status.failing_since,
            "next_probe_at": status.next_probe_at,
            "code": None if failure is None else failure.code,
            "message": None if failure is None else failure.message,
        }
    )
