"""Failures of writes to Supabase: of a whole request, and of one row."""

from dataclasses import dataclass
from enum import StrEnum


class RequestFailureKind(StrEnum):
    """Classes of failed requests."""

    STALE = "stale"
    """A later claim or request has advanced the fence."""
    BUSY = "busy"
    """Another request holds the fence."""
    MISCONFIGURED = "misconfigured"
    """The key, the URL or the functions are wrong; an operator has to fix them."""
    UNAVAILABLE = "outage"
    """No usable response. A probe decides whether all of Supabase is unavailable."""


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A request that failed as a whole.

    Attributes:
        code: SQLSTATE, PostgREST code, HTTP status or name of the network error.
        message: one sentence without row values.
        retry_after_seconds: as Supabase asked for.
    """

    kind: RequestFailureKind
    code: str
    message: str
    retry_after_seconds: float | None = None


class RowFailureKind(StrEnum):
    """Classes of failed rows."""

    MISSING_REFERENCE = "missing-reference"
    """The row refers to a parent that Supabase lacks."""
    STILL_REFERENCED = "still-referenced"
    """Another table refers to the row to delete."""
    UNIQUE_CONFLICT = "unique-conflict"
    """Another row holds a unique value."""
    BUSY = "busy"
    """The row is locked, or a resource is exhausted: a retry succeeds."""
    INCOMPLETE = "incomplete"
    """The row to update does not exist, and the event lacks columns that a new row needs."""
    STRUCTURAL = "structural"
    """A table, column, key or privilege is missing, for this row or for all of its table."""
    REJECTED = "rejected"
    """Supabase will never accept this row."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row that could not be applied.

    Attributes:
        code: SQLSTATE.
        message: one sentence without row values.
        field: the contract's field that refers to the missing parent, if known.
    """

    kind: RowFailureKind
    code: str
    message: str
    field: str | None = None
