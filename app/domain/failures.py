"""What can go wrong when Supabase is written to: with a request as a whole, and with one row."""

from dataclasses import dataclass
from enum import StrEnum


class RequestFailureKind(StrEnum):
    """Classes of failed requests."""

    STALE = "stale"
    """The fence has moved on: somebody else claimed it, or a later request came first."""
    BUSY = "busy"
    """Another request holds the fence."""
    MISCONFIGURED = "misconfigured"
    """The key, the URL or the functions are not as they have to be: a person has to look."""
    UNAVAILABLE = "outage"
    """Nothing usable came back. Whether all of Supabase is unavailable, a probe tells."""


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """One request that did not succeed as a whole.

    Attributes:
        kind: the class.
        code: SQLSTATE, PostgREST code, HTTP status or name of the network error.
        message: one sentence without the values of any row.
        retry_after_seconds: what Supabase asked for, if it did.
    """

    kind: RequestFailureKind
    code: str
    message: str
    retry_after_seconds: float | None = None


class RowFailureKind(StrEnum):
    """Classes of failed rows."""

    MISSING_REFERENCE = "missing-reference"
    """A foreign key: the row waits for its parent."""
    STILL_REFERENCED = "still-referenced"
    """Another table refers to the row that is to be deleted."""
    UNIQUE_CONFLICT = "unique-conflict"
    """Another row holds a unique value."""
    BUSY = "busy"
    """Locked, or short of a resource: the same row succeeds later."""
    INCOMPLETE = "incomplete"
    """The row exists in Supabase no more, and the event lacks columns that a new one needs."""
    STRUCTURAL = "structural"
    """A table, column, key or privilege is missing, for this row or for all of its table."""
    REJECTED = "rejected"
    """Supabase will never accept this row."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """One row that could not be applied.

    Attributes:
        kind: the class.
        code: SQLSTATE.
        message: one sentence without values.
        field: the field of ours that refers to a missing parent, if it is known.
    """

    kind: RowFailureKind
    code: str
    message: str
    field: str | None = None
