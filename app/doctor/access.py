"""`relay access`'s use case: may this user read this trip, and why or why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.doctor.access_reasons import Desired, Membership, explain
from app.doctor.inspection.probes import (
    LACKS_PRIVILEGE,
    NO_SUCH_COLUMN,
    NO_SUCH_TABLE,
    NOT_EXPOSED,
    Inspection,
)
from app.doctor.inspection.project import Project
from app.domain.entities import Kind
from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.targets import Target, Targets


class Outcome(StrEnum):
    """What reading one table as the user came to."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOTHING_THERE = "nothing-there"
    """Nobody could read a row of this trip: there is none."""
    NO_TABLE = "no-such-table"
    UNCHECKED = "could-not-check"


class Verdict(StrEnum):
    """The answer."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNCHECKED = "could-not-check"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Reading:
    """One table read as the user."""

    table: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What was found.

    Attributes:
        sentence: the answer in one or two sentences.
        membership: the row in Supabase; None where there is none.
        has_user: whether Supabase has the user's row; None where it could not be read.
        has_trip: likewise.
        is_trip_member: what the function of that name tells the user; None without it.
        desired: what the relay says; None where it could not be asked.
    """

    verdict: Verdict
    sentence: str
    readings: Sequence[Reading]
    membership: Membership | None
    has_user: bool | None
    has_trip: bool | None
    is_trip_member: bool | None
    desired: Desired | None


async def examine_access(
    project: Project,
    user: Inspection,
    targets: Targets,
    *,
    user_id: str,
    trip_id: str,
    tables: Sequence[str],
    desired: Desired | None,
) -> Access:
    """Read as the user, and as the relay what there is to read.

    Args:
        project: gives the relay's view.
        user: looks as the user.
        targets: where users, trips and memberships are.
        user_id: who.
        trip_id: what.
        tables: further tables, whose rows belong to a trip by a column trip_id.
        desired: what the relay says.
    """
    relay, memberships = project.relay, targets.memberships
    own = {
        memberships.columns["trip_id"]: f"eq.{trip_id}",
        memberships.columns["user_id"]: f"eq.{user_id}",
    }
    role, status = memberships.columns["role"], memberships.columns["status"]
    rows = await relay.read_rows(memberships, (role, status), filters=own)
    if isinstance(rows, RequestFailure):
        return _give_up(rows, desired)
    membership = Membership(str(rows[0][role]), str(rows[0][status])) if rows else None
    has_user = await _has_row(relay, targets[Kind.USER], user_id)
    has_trip = await _has_row(relay, targets[Kind.TRIP], trip_id)
    trips = targets.trips
    readings = [
        await _read(relay, user, trips.table, trips.columns["id"], trip_id, trips.schema),
        *[await _read(relay, user, table, "trip_id", trip_id, None) for table in tables],
    ]
    answer = await user.call("is_trip_member", {"trip_id": trip_id})
    is_trip_member = answer if isinstance(answer, bool) else None
    verdict = _judge(readings, is_trip_member)
    sentence = explain(
        is_allowed=verdict is Verdict.ALLOWED,
        is_known=verdict in (Verdict.ALLOWED, Verdict.DENIED),
        denied_tables=[r.table for r in readings if r.outcome is Outcome.DENIED],
        membership=membership,
        inactive=memberships.inactive,
        has_user=has_user,
        has_trip=has_trip,
        desired=desired,
        detail=next((r.detail for r in readings if r.outcome is Outcome.UNCHECKED), ""),
    )
    return Access(
        verdict, sentence, readings, membership, has_user, has_trip, is_trip_member, desired
    )


async def _read(
    relay: Inspection, user: Inspection, table: str, column: str, trip_id: str, schema: str | None
) -> Reading:
    filters: Mapping[str, Any] = {column: f"eq.{trip_id}"}
    seen = await user.read_table(table, (column,), schema=schema, filters=filters)
    if isinstance(seen, RequestFailure):
        if seen.code in (*NO_SUCH_TABLE, NOT_EXPOSED):
            return Reading(table, Outcome.NO_TABLE)
        if seen.code in NO_SUCH_COLUMN:
            return Reading(table, Outcome.UNCHECKED, f"it has no column {column}")
        if seen.code == LACKS_PRIVILEGE:
            return Reading(table, Outcome.DENIED, "users hold no privilege to read it")
        return Reading(table, Outcome.UNCHECKED, f"{seen.code}, {seen.message}")
    if seen:
        return Reading(table, Outcome.ALLOWED)
    there = await relay.read_table(table, (column,), schema=schema, filters=filters)
    if isinstance(there, RequestFailure):
        return Reading(table, Outcome.UNCHECKED, f"{there.code}, {there.message}")
    if there:
        return Reading(table, Outcome.DENIED, "its rows are hidden by Row Level Security")
    return Reading(table, Outcome.NOTHING_THERE)


async def _has_row(relay: Inspection, target: Target, row_id: str) -> bool | None:
    key = target.columns["id"]
    rows = await relay.read_rows(target, (key,), filters={key: f"eq.{row_id}"})
    return None if isinstance(rows, RequestFailure) else bool(rows)


def _judge(readings: Sequence[Reading], is_trip_member: bool | None) -> Verdict:
    outcomes = {reading.outcome for reading in readings}
    if Outcome.DENIED in outcomes:
        return Verdict.DENIED
    if Outcome.ALLOWED in outcomes:
        return Verdict.ALLOWED
    if Outcome.UNCHECKED in outcomes or is_trip_member is None:
        return Verdict.UNCHECKED
    return Verdict.ALLOWED if is_trip_member else Verdict.DENIED


def _give_up(failure: RequestFailure, desired: Desired | None) -> Access:
    is_outage = failure.kind is RequestFailureKind.UNAVAILABLE
    return Access(
        Verdict.UNREACHABLE if is_outage else Verdict.UNCHECKED,
        f"The memberships in Supabase could not be read: {failure.code}, {failure.message}."
        " relay doctor looks at why.",
        (),
        None,
        None,
        None,
        None,
        desired,
    )
