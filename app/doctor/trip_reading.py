"""Read a trip and its rows as a user."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.doctor.probes import (
    LACKS_PRIVILEGE,
    NO_SUCH_COLUMN,
    NO_SUCH_TABLE,
    NOT_EXPOSED,
    ProbeClient,
)
from app.doctor.project import Project
from app.domain.failures import RequestFailure
from app.supabase.targets import Target


class Outcome(StrEnum):
    """The result of reading one table as the user, or of all that was read."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NO_ROWS = "no-rows"
    NO_TABLE = "no-such-table"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Reading:
    """One table read as the user."""

    table: str
    outcome: Outcome
    detail: str = ""


async def read_trip(
    project: Project, user: ProbeClient, trip_id: str, tables: Sequence[str]
) -> list[Reading]:
    """Read a trip, and its rows in further tables, as a user."""
    relay, trips = project.relay, project.targets.trips
    return [
        await _read_as_user(relay, user, trips, trips.columns["id"], trip_id),
        *[await _read_as_user(relay, user, table, "trip_id", trip_id) for table in tables],
    ]


async def _read_as_user(
    relay: ProbeClient, user: ProbeClient, table: Target | str, column: str, trip_id: str
) -> Reading:
    name = table if isinstance(table, str) else table.table
    filters = {column: f"eq.{trip_id}"}
    seen = await user.read_rows(table, (column,), filters=filters)
    if isinstance(seen, RequestFailure):
        if seen.code in (*NO_SUCH_TABLE, NOT_EXPOSED):
            return Reading(name, Outcome.NO_TABLE)
        if seen.code in NO_SUCH_COLUMN:
            return Reading(name, Outcome.UNKNOWN, f"the table has no column {column}")
        if seen.code == LACKS_PRIVILEGE:
            return Reading(name, Outcome.DENIED, "users lack the privilege to read the table")
        return Reading(name, Outcome.UNKNOWN, f"{seen.code}, {seen.message}")
    if seen:
        return Reading(name, Outcome.ALLOWED)
    existing = await relay.read_rows(table, (column,), filters=filters)
    if isinstance(existing, RequestFailure):
        return Reading(name, Outcome.UNKNOWN, f"{existing.code}, {existing.message}")
    if existing:
        return Reading(name, Outcome.DENIED, "Row Level Security hides the rows")
    return Reading(name, Outcome.NO_ROWS)
