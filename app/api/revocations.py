"""`GET /revocations`: how long revoked memberships still gave access in Supabase."""

from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.dependencies import EventAccess, ServicesDependency, UniqueParameters
from app.api.filters import Id, InstantText, Moment, check_range
from app.api.problems import OPERATOR_ERRORS, describe_problems
from app.domain.errors import InputInvalid
from app.domain.exposure import ExposureFilter
from app.domain.instants import from_seconds
from app.store import revocation_queries

router = APIRouter(tags=["events"], responses=describe_problems(*OPERATOR_ERRORS))


class RevocationBody(BaseModel):
    """A revocation of one membership."""

    model_config = ConfigDict(from_attributes=True)

    trip_id: str
    user_id: str
    occurred_at: Moment = Field(description="When the access ended at the source.")
    received_at: Moment = Field(description="When the relay received the change.")
    applied_at: Moment | None = Field(
        description="When the revocation was first in force in Supabase; null while it is not."
    )
    exposed_seconds: float = Field(
        description="From `occurred_at` to `applied_at`, or to now if it is null."
    )
    relay_seconds: float = Field(
        description="From `received_at` to `applied_at`, or to now if it is null."
    )


class ExposureSummaryBody(BaseModel):
    """All matching revocations; the seconds are `exposed_seconds`, null without any revocation."""

    model_config = ConfigDict(from_attributes=True)

    revocations: int = Field(description="How many match.")
    unapplied: int = Field(description="How many of them are not in force in Supabase yet.")
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    maximum_seconds: float | None


class Exposure(BaseModel):
    """How long revoked memberships still gave access."""

    model_config = ConfigDict(from_attributes=True)

    summary: ExposureSummaryBody
    revocations: list[RevocationBody] = Field(
        description="The longest exposures: first of those that last, then of the others."
    )


class ExposureQuery(BaseModel):
    """A period. A revocation matches if its exposure overlaps the period."""

    model_config = ConfigDict(extra="forbid")

    since: InstantText = Field(description="In force at this time or later, or not yet.")
    until: InstantText | None = Field(None, description="Happened before this time.")
    trip_id: Id | None = Field(None, description="Only memberships of this trip.")
    limit: int = Field(50, ge=1, le=200, description="The most revocations to list.")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        check_range(self.since, self.until)
        return self


@router.get(
    "/revocations",
    operation_id="measureExposure",
    summary="Measure exposure",
    responses=describe_problems(InputInvalid),
)
async def measure_exposure(
    _: EventAccess,
    __: UniqueParameters,
    query: Annotated[ExposureQuery, Query()],
    services: ServicesDependency,
) -> Exposure:
    """Measure how long revoked memberships still gave access in Supabase, and list the longest.

    The exposure of a revocation lasts from the change at the source until Supabase holds it. A
    revocation is a removed membership, one whose status is not ACTIVE, or one removed with its trip
    or user. Several in a row count as one; one that new access superseded before it was applied
    does not count. The relay keeps revocations for `RETENTION_DAYS` after they are applied. Needs
    `events:read`.
    """
    report = await services.store.scan(
        revocation_queries.read_exposure,
        ExposureFilter(query.since, query.until, query.trip_id),
        from_seconds(services.clock()),
        query.limit,
    )
    return Exposure.model_validate(report)
