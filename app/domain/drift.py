"""Drift: how Supabase differs from the desired state, and what repair would do."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from app.domain.entities import EntityRef, Kind
from app.domain.instants import Instant

ReconcileId = NewType("ReconcileId", str)

_DEFAULT_REMOVALS: Final = 10
_DEFAULT_PERCENT: Final = 1.0
_PLAN_DIGITS: Final = 12
_LIMIT: Final = re.compile(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,3})?)%", re.ASCII)


class Effect(StrEnum):
    """What a difference does, in the order of a report."""

    LEAKS = "leaks"
    """It grants access that the desired state does not."""
    DENIES = "denies"
    """It denies access that the desired state grants."""
    OTHER = "other"


class DifferenceKind(StrEnum):
    """How Supabase differs from the desired state."""

    EXTRA = "extra"
    MISSING = "missing"
    DIFFERENT = "different"


class Origin(StrEnum):
    """Where a difference comes from, as far as the relay can know."""

    REMOVED_BY_US = "removed_by_us"
    """The relay has a tombstone: it removed the row, and the row is there again."""
    UNKNOWN_TO_US = "unknown_to_us"
    """No event was ever about this row."""
    CHANGED = "changed_by_somebody_else"
    """The relay wrote the row, and it was changed or removed since."""


class Repair(StrEnum):
    """What repair does about a difference."""

    WRITE = "write"
    DELETE = "delete"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs; no values.

    Attributes:
        columns: those that differ, if both sides have the row.
        note: why nothing is repaired; None if it is.
    """

    ref: EntityRef
    kind: DifferenceKind
    effect: Effect
    origin: Origin
    columns: tuple[str, ...]
    repair: Repair
    note: str | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether the relay repairs it by itself: access that a revocation has taken away."""
        return self.effect is Effect.LEAKS and self.origin is not Origin.UNKNOWN_TO_US

    @property
    def is_guarded(self) -> bool:
        """Whether it counts against the limit of removals."""
        return self.repair is Repair.DELETE and not self.is_automatic


class Plan:
    """Computes the id of a plan: the same differences give the same id."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._is_empty = True

    def add(self, differences: Iterable[Difference]) -> None:
        """Add differences, in the order of the check."""
        for each in differences:
            line = (each.ref.kind, each.ref.key, each.kind, *each.columns, each.repair)
            self._digest.update("\x1f".join(line).encode() + b"\n")
            self._is_empty = False

    @property
    def plan_id(self) -> str | None:
        """The id; None if nothing differs."""
        return None if self._is_empty else self._digest.hexdigest()[:_PLAN_DIGITS]


@dataclass(frozen=True, slots=True)
class TableDrift:
    """The result for one table.

    Attributes:
        rows: rows that were compared.
        counts: differences by effect.
    """

    kind: Kind
    table: str
    rows: int
    counts: Mapping[Effect, int]


class ReconcileStatus(StrEnum):
    """The progress of a check."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class RepairStatus(StrEnum):
    """What was repaired after a check."""

    NONE = "none"
    AUTOMATIC = "automatic"
    """Only access that a revocation has taken away."""
    REQUESTED = "requested"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """What an operator asks for.

    Attributes:
        max_removals: as `count_allowed_removals` reads it; None for the default.
        plan_id: the plan that is approved however many rows it removes.
    """

    repair: bool = False
    max_removals: str | None = None
    plan_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One check of Supabase and its repair.

    Attributes:
        requested_by: the subject of the token; None for a scheduled check.
        failure: why it could not check; None unless failed.
        removals: rows that repair would remove although no revocation is known.
        repaired: entities that were queued for repair.
        leaks_left: rows that grant access and were not queued for repair.
        refusal: why the repair was refused.
    """

    number: int
    reconcile_id: ReconcileId
    requested_at: Instant
    requested_by: str | None
    request: ReconcileRequest
    status: ReconcileStatus
    finished_at: Instant | None = None
    failure: str | None = None
    tables: tuple[TableDrift, ...] = ()
    plan_id: str | None = None
    removals: int = 0
    repair: RepairStatus = RepairStatus.NONE
    repaired: int = 0
    leaks_left: int = 0
    refusal: str | None = None

    @property
    def differences(self) -> int:
        """All differences."""
        return sum(map(self.count, Effect))

    def count(self, effect: Effect) -> int:
        """Count the differences with an effect."""
        return sum(table.counts.get(effect, 0) for table in self.tables)


@dataclass(frozen=True, slots=True)
class DriftStatus:
    """The newest check that has finished, and the newest that has completed."""

    latest: Reconciliation | None = None
    completed: Reconciliation | None = None


@dataclass(frozen=True, slots=True)
class ReconciliationPage:
    """A page of checks, newest first; `next_number` is where the next page starts."""

    reconciliations: tuple[Reconciliation, ...]
    next_number: int | None


@dataclass(frozen=True, slots=True)
class DifferencePage:
    """A page of differences in the order of a report; `next_position` starts the next page."""

    differences: tuple[Difference, ...]
    next_position: int | None


def count_allowed_removals(limit: str | None, rows: int) -> int:
    """Return how many rows a repair may remove.

    Args:
        limit: a number of rows or a percentage, such as `25` or `0.5%`; None for the smaller of 10
            rows and 1 %. A percentage is rounded up.
        rows: that were compared.

    Raises:
        ValueError: the limit is neither.
    """
    if limit is None:
        return min(_DEFAULT_REMOVALS, math.ceil(rows * _DEFAULT_PERCENT / 100))
    found = _LIMIT.fullmatch(limit)
    if found is None or (found[2] is not None and float(found[2]) > 100):
        raise ValueError("must be a number of rows or a percentage, such as 25 or 0.5%")
    return int(found[1]) if found[1] is not None else math.ceil(rows * float(found[2]) / 100)


def explain_refusal(
    request: ReconcileRequest, plan_id: str | None, removals: int, rows: int
) -> str | None:
    """Return why a repair must not happen; None if it may."""
    if request.plan_id is not None:
        if request.plan_id == plan_id:
            return None
        return f"the plan {request.plan_id} is out of date: it is {plan_id} now"
    allowed = count_allowed_removals(request.max_removals, rows)
    if removals <= allowed:
        return None
    return (
        f"the repair would remove {removals} rows that no revocation explains, more than the"
        f" {allowed} allowed: approve the plan {plan_id}, or raise the limit"
    )
