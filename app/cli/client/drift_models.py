"""Reports of a comparison: the relay's of Supabase, and the command's own of the source."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from app.domain.drift import (
    Difference,
    DifferenceKind,
    Effect,
    Origin,
    ReconcileStatus,
    Repair,
    RepairStatus,
)
from app.domain.entities import EntityKey, EntityRef, Kind


class TableReport(BaseModel):
    """The result for one kind of entity.

    Attributes:
        rows: of the relay's desired state.
    """

    kind: Kind
    rows: int
    leaks: int
    denies: int
    other: int

    def count(self, effect: Effect) -> int:
        """Count the differences with an effect."""
        return {
            Effect.LEAKS: self.leaks,
            Effect.DENIES: self.denies,
            Effect.OTHER: self.other,
        }[effect]


class SourceTable(TableReport):
    """The result for one kind of entity of the source."""

    source_rows: int


class SupabaseTable(TableReport):
    """The result for one table of Supabase."""

    table: str


class DriftReport(BaseModel):
    """What every comparison tells.

    Attributes:
        remaining: differences that a second comparison found after the repair.
    """

    differences: int
    plan_id: str | None
    removals: int
    repair: RepairStatus
    repaired: int
    refusal: str | None
    remaining: int | None = None
    tables: Sequence[TableReport]

    def count(self, effect: Effect) -> int:
        """Count the differences with an effect."""
        return sum(table.count(effect) for table in self.tables)


class SourceReport(DriftReport):
    """A comparison of the relay's desired state with the source.

    Attributes:
        newer: entities that changed after the snapshot, which do not count.
        unsent: entities with unsent events, which do not count.
    """

    source: str
    snapshot_at: datetime
    tables: Sequence[SourceTable]
    newer: int
    unsent: int


class SupabaseReport(DriftReport):
    """A check of Supabase by the relay."""

    reconcile_id: str
    requested_at: datetime
    requested_by: str | None
    finished_at: datetime | None
    status: ReconcileStatus
    failure: str | None
    tables: Sequence[SupabaseTable]


class DifferenceAnswer(BaseModel):
    """One difference, as the relay and files of differences write it."""

    kind: Kind
    key: EntityKey
    difference: DifferenceKind
    effect: Effect
    origin: Origin
    columns: tuple[str, ...]
    repair: Repair
    note: str | None

    @classmethod
    def write(cls, found: Difference) -> str:
        """Write a difference as one line of JSON."""
        answer = cls(
            kind=found.ref.kind,
            key=found.ref.key,
            difference=found.kind,
            effect=found.effect,
            origin=found.origin,
            columns=found.columns,
            repair=found.repair,
            note=found.note,
        )
        return answer.model_dump_json()

    def read(self) -> Difference:
        """Return the difference."""
        ref = EntityRef(self.kind, self.key)
        return Difference(
            ref, self.difference, self.effect, self.origin, self.columns, self.repair, self.note
        )


class DifferencePage(BaseModel):
    """A page of differences."""

    differences: list[DifferenceAnswer]
    next_cursor: str | None
