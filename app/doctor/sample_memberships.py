"""Memberships of a project to try its policies with."""

from dataclasses import dataclass

from app.doctor.database import StatementFailed, Transaction
from app.doctor.fixes import name_target
from app.supabase.identifiers import quote
from app.supabase.targets import Targets


@dataclass(frozen=True, slots=True)
class SampleMembership:
    """A membership in Supabase."""

    trip_id: str
    user_id: str


def find_memberships(
    transaction: Transaction, targets: Targets, *, is_active: bool, limit: int
) -> list[SampleMembership]:
    """Find some memberships; none if the table cannot be read in time."""
    target = targets.memberships
    trip, user, status = (quote(target.columns[f]) for f in ("trip_id", "user_id", "status"))
    try:
        rows = transaction.run(
            f"select {trip}::text, {user}::text from {name_target(target)}"  # noqa: S608 - quoted
            f" where {status}::text {'=' if is_active else '<>'} 'ACTIVE' limit {limit}"
        )
    except StatementFailed:
        return []
    return [SampleMembership(trip_id, user_id) for trip_id, user_id in rows]
