"""The bodies and queries of `/reconcile`."""

from typing import Annotated, Any, Final

from pydantic import AliasPath, BaseModel, ConfigDict, Field, field_validator

from app.api.filters import Moment, PageQuery
from app.domain.drift import (
    DifferenceKind,
    Effect,
    Origin,
    ReconcileStatus,
    Repair,
    RepairStatus,
    count_allowed_removals,
)
from app.domain.entities import Kind

_MAXIMUM_DIFFERENCES: Final = 1000

# PostgreSQL does not accept NUL.
PlanId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


class ReconcileBody(BaseModel):
    """A check of Supabase; without `repair` it only looks."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{}, {"repair": True, "max_removals": "25"}]},
    )

    repair: bool = Field(False, description="Repair what differs. Also needs `replay:write`.")
    max_removals: str | None = Field(
        None,
        description="Refuse a repair that removes more rows that no revocation explains: a number,"
        " or a percentage of all rows. By default the smaller of 10 and 1 %.",
        examples=["25", "0.5%"],
    )
    plan_id: PlanId | None = Field(
        None,
        description="Approve exactly this plan, however many rows it removes.",
    )

    @field_validator("max_removals")
    @classmethod
    def _check_limit(cls, value: str | None) -> str | None:
        count_allowed_removals(value, 0)
        return value


class TableBody(BaseModel):
    """The result for one table."""

    kind: Kind
    table: str
    rows: int = Field(description="Rows compared.")
    leaks: int = Field(description="Rows that grant access and should not.")
    denies: int = Field(description="Rows that should grant access and do not, or are missing.")
    other: int = Field(description="Other differences.")


class ReconcileReport(BaseModel):
    """A check of Supabase and its repair."""

    model_config = ConfigDict(from_attributes=True)

    reconcile_id: str
    requested_at: Moment
    requested_by: str | None = Field(
        description="The subject of the token; null for a scheduled check."
    )
    finished_at: Moment | None
    status: ReconcileStatus
    failure: str | None = Field(description="Why it could not check; null unless `failed`.")
    tables: list[TableBody]
    differences: int
    plan_id: str | None = Field(description="Names the repair of these differences.")
    removals: int = Field(
        description="Rows that the repair would remove and no revocation explains."
    )
    repair: RepairStatus = Field(
        description="`automatic`: only access that a revocation has taken away."
    )
    repaired: int = Field(description="Entities queued for repair.")
    refusal: str | None = Field(description="Why the repair was refused.")

    @field_validator("tables", mode="before")
    @classmethod
    def _write_tables(cls, tables: Any) -> list[TableBody]:
        return [
            TableBody(
                kind=each.kind,
                table=each.table,
                rows=each.rows,
                **{effect.value: each.counts.get(effect, 0) for effect in Effect},
            )
            for each in tables
        ]


class ReconcileList(BaseModel):
    """A page of checks, newest first."""

    reconciliations: list[ReconcileReport]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")


class DifferenceBody(BaseModel):
    """One row that differs. Its values may be personal, and are not shown."""

    model_config = ConfigDict(from_attributes=True)

    kind: Kind = Field(validation_alias=AliasPath("ref", "kind"))
    key: str = Field(validation_alias=AliasPath("ref", "key"))
    difference: DifferenceKind = Field(validation_alias="kind")
    effect: Effect
    origin: Origin
    columns: list[str] = Field(description="Columns that differ.")
    repair: Repair = Field(description="What a repair does.")
    note: str | None = Field(description="Why a repair does nothing.")


class DifferenceList(BaseModel):
    """A page of differences: what leaks, then what denies, then the rest."""

    differences: list[DifferenceBody]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")


class DifferenceQuery(PageQuery):
    """A page of the differences."""

    limit: int = Field(100, ge=1, le=_MAXIMUM_DIFFERENCES)
