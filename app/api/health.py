"""`GET /health`, `/health/live` and `/health/ready`: for monitoring and orchestrators."""

from importlib.metadata import version
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.api.dependencies import ServicesDependency
from app.domain.drift import DriftStatus, Effect
from app.relay.health import Health, HealthStatus

VERSION: Final = version("supabase-sync-relay")


class HealthResponse(JSONResponse):
    """Source: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check."""

    media_type = "application/health+json"


router = APIRouter(tags=["health"], default_response_class=HealthResponse)


class CheckBody(BaseModel):
    """The status of one component."""

    model_config = ConfigDict(from_attributes=True)

    status: HealthStatus
    reason: str | None = None


class Checks(BaseModel):
    """The status of each component."""

    model_config = ConfigDict(from_attributes=True)

    store: CheckBody
    dispatcher: CheckBody
    supabase: CheckBody


class BacklogBody(BaseModel):
    """Changes that Supabase does not hold yet; nulls when the store cannot be read."""

    pending: int | None = Field(description="Entities that Supabase may not hold yet.")
    oldest_pending_seconds: float = Field(description="Age of the oldest pending entity.")
    oldest_removal_seconds: float = Field(description="Age of the oldest pending revocation.")
    dead: int | None = Field(description="Entities that Supabase rejected for good.")


class DriftBody(BaseModel):
    """The result of the checks that Supabase equals the desired state."""

    status: Literal["equal", "differs", "failed", "unknown"] = Field(
        description="Of the newest check; `unknown` before the first one, or when the store cannot"
        " be read."
    )
    age_seconds: float | None = Field(description="Time since the newest completed check.")
    leaks: int | None = Field(description="Rows that grant access and should not.")
    denies: int | None = Field(description="Rows that should grant access and do not.")
    other: int | None = Field(description="Other differences.")
    plan_id: str | None = Field(description="Names the repair of what differs.")
    failure: str | None = Field(description="Why the newest check failed.")


class HealthBody(BaseModel):
    """The health status."""

    status: HealthStatus
    version: str
    checks: Checks
    backlog: BacklogBody
    drift: DriftBody


class AliveBody(BaseModel):
    """The process responds."""

    status: Literal["ok"] = "ok"


class ReadyBody(BaseModel):
    """Whether the relay can accept events."""

    status: HealthStatus = Field(description="`ok` or `down`.")


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    operation_id="getHealth",
    summary="Get health status",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "The relay cannot accept events."}},
)
async def get_health(services: ServicesDependency) -> HealthResponse:
    """200 while the relay can accept events, even if Supabase is unavailable; else 503."""
    health = await services.health.report()
    return _respond(make_health_body(health), health.status)


@router.head("/health/live", include_in_schema=False)
@router.get(
    "/health/live",
    operation_id="getLiveness",
    summary="Check liveness",
    response_model=AliveBody,
)
async def get_liveness() -> HealthResponse:
    """Restart the process when this does not respond."""
    return _respond(AliveBody(), HealthStatus.OK)


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="getReadiness",
    summary="Check readiness",
    response_model=ReadyBody,
    responses={503: {"model": ReadyBody, "description": "The relay cannot accept events."}},
)
async def get_readiness(services: ServicesDependency) -> HealthResponse:
    """200 while the relay can accept events; else 503."""
    health = await services.health.report()
    is_down = health.status is HealthStatus.DOWN
    status = HealthStatus.DOWN if is_down else HealthStatus.OK
    return _respond(ReadyBody(status=status), status)


def make_health_body(health: Health) -> HealthBody:
    """Make the body of a response."""
    backlog = health.backlog
    return HealthBody(
        status=health.status,
        version=VERSION,
        checks=Checks.model_validate(health),
        backlog=BacklogBody(
            pending=None if backlog is None else backlog.pending,
            oldest_pending_seconds=round(health.oldest_pending_seconds, 3),
            oldest_removal_seconds=round(health.oldest_removal_seconds, 3),
            dead=None if backlog is None else backlog.dead,
        ),
        drift=_describe_drift(health),
    )


def _describe_drift(health: Health) -> DriftBody:
    drift = health.drift or DriftStatus()
    completed = drift.completed
    failure = None if drift.latest is None else drift.latest.failure
    status: Literal["equal", "differs", "failed", "unknown"] = "unknown"
    if failure is not None:
        status = "failed"
    elif completed is not None:
        status = "differs" if completed.differences else "equal"
    age_seconds = health.drift_age_seconds
    return DriftBody(
        status=status,
        age_seconds=None if age_seconds is None else round(age_seconds, 3),
        **{
            effect.value: None if completed is None else completed.count(effect)
            for effect in Effect
        },
        plan_id=None if completed is None else completed.plan_id,
        failure=failure,
    )


def _respond(body: BaseModel, status: HealthStatus) -> HealthResponse:
    return HealthResponse(
        body.model_dump(mode="json"),
        503 if status is HealthStatus.DOWN else 200,
        headers={"Cache-Control": "no-store"},
    )
