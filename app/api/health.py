"""`GET /health`, `/health/live`, `/health/ready`: for monitoring and orchestrators."""

from importlib.metadata import version
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.api.dependencies import ServicesDependency
from app.relay.health import Check, HealthStatus

VERSION: Final = version("supabase-sync-relay")


class HealthResponse(JSONResponse):
    """Source: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check."""

    media_type = "application/health+json"


router = APIRouter(tags=["health"], default_response_class=HealthResponse)


class CheckBody(BaseModel):
    """One part and how it fares."""

    status: HealthStatus
    reason: str | None = None

    @classmethod
    def of(cls, check: Check) -> "CheckBody":
        """Write a check."""
        return cls(status=check.status, reason=check.reason)


class Checks(BaseModel):
    """The parts."""

    store: CheckBody
    dispatcher: CheckBody
    supabase: CheckBody


class BacklogBody(BaseModel):
    """What is still to be done; nulls where the store cannot be read."""

    pending: int | None = Field(description="Entities that Supabase may not hold yet.")
    oldest_pending_seconds: float = Field(description="How long the longest waiting one waits.")
    oldest_removal_seconds: float = Field(description="The same of what takes access away.")
    dead: int | None = Field(description="Entities that Supabase refused for good.")


class HealthBody(BaseModel):
    """The whole report."""

    status: HealthStatus
    version: str
    checks: Checks
    backlog: BacklogBody


class AliveBody(BaseModel):
    """An answer at all is the message."""

    status: Literal["ok"] = "ok"


class ReadyBody(BaseModel):
    """Whether events can be accepted."""

    status: Annotated[HealthStatus, Field(description="`ok` or `down`.")]


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    operation_id="getHealth",
    summary="How the relay fares",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "No event can be accepted."}},
)
async def get_health(services: ServicesDependency) -> HealthResponse:
    """200 while events can be accepted, even if Supabase cannot be written to; else 503."""
    health = await services.health.report()
    body = HealthBody(
        status=health.status,
        version=VERSION,
        checks=Checks(
            store=CheckBody.of(health.store),
            dispatcher=CheckBody.of(health.dispatcher),
            supabase=CheckBody.of(health.supabase),
        ),
        backlog=BacklogBody(
            pending=None if health.backlog is None else health.backlog.pending,
            oldest_pending_seconds=round(health.oldest_pending_seconds, 3),
            oldest_removal_seconds=round(health.oldest_removal_seconds, 3),
            dead=None if health.backlog is None else health.backlog.dead,
        ),
    )
    return _answer(body.model_dump(mode="json", exclude_none=False), health.status)


@router.head("/health/live", include_in_schema=False)
@router.get(
    "/health/live",
    operation_id="getLiveness",
    summary="Whether the process answers",
    response_model=AliveBody,
)
async def get_liveness() -> HealthResponse:
    """Restart the process when this does not answer."""
    return _answer(AliveBody().model_dump(mode="json"), HealthStatus.OK)


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="getReadiness",
    summary="Whether events can be accepted",
    response_model=ReadyBody,
    responses={503: {"model": ReadyBody, "description": "Send no events here."}},
)
async def get_readiness(services: ServicesDependency) -> HealthResponse:
    """Send events here while this answers 200."""
    health = await services.health.report()
    is_down = health.status is HealthStatus.DOWN
    status = HealthStatus.DOWN if is_down else HealthStatus.OK
    return _answer(ReadyBody(status=status).model_dump(mode="json"), status)


def _answer(body: object, status: HealthStatus) -> HealthResponse:
    return HealthResponse(
        body,
        503 if status is HealthStatus.DOWN else 200,
        headers={"Cache-Control": "no-store"},
    )
