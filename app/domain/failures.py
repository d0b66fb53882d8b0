"""What can go wrong when Supabase is written to, and what it means for the entities."""

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Classes of failure; the dispatcher treats each in its own way."""

    OUTAGE = "outage"
    """Supabase cannot be reached or does not work: everything waits, nothing is used up."""
    MISCONFIGURED = "misconfigured"
    """It refuses our key: everything waits until the key is right."""
    SCHEMA_MISMATCH = "schema-mismatch"
    """A table, column or constraint is not as configured: everything waits until it is."""
    PARENT_MISSING = "parent-missing"
    """A foreign key: this entity waits for its parent."""
    CONTESTED = "contested"
    """A unique value is held by another row: this entity is tried again."""
    OURS = "fault-of-ours"
    """One bulk wrote a row twice: split it, never take it for an outage."""
    REFUSED = "refused"
    """Supabase will never take this row: dead."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One answer of Supabase, or its absence, read.

    Attributes:
        kind: the class.
        code: SQLSTATE, PostgREST code, HTTP status or name of the network error.
        message: one sentence without the values of any row.
        retry_after_seconds: what Supabase asked for, if it did.
        field: which of our fields is to blame, if one is: what it refers to is missing, or it is
            null where it must not be.
    """

    kind: FailureKind
    code: str
    message: str
    retry_after_seconds: float | None = None
    field: str | None = None

    @property
    def stops_everything(self) -> bool:
        """Whether no other entity would fare better."""
        return self.kind in (
            FailureKind.OUTAGE,
            FailureKind.MISCONFIGURED,
            FailureKind.SCHEMA_MISMATCH,
        )
