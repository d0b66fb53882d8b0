"""Explain why a user can or cannot read a trip: `relay access`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.doctor.probes import ProbeClient
from app.doctor.project import Project
from app.doctor.trip_reading import Outcome, Reading, read_trip
from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.targets import Inactive, Target, Targets


@dataclass(frozen=True, slots=True)
class Membership:
    """The row in Supabase."""

    role: str
    status: str


@dataclass(frozen=True, slots=True)
class Desired:
    """The membership as the relay holds it; times are in the relay's own format.

    Attributes:
        event_id: the latest event about it; None if the relay received none, or purged it.
        state: pending, applied or dead.
        is_removed: the desired state is no row.
    """

    event_id: str | None = None
    event_type: str | None = None
    state: str | None = None
    is_removed: bool = False
    desired_version_at: str | None = None
    pending_since: str | None = None
    next_attempt_at: str | None = None
    last_error_code: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """The access of one user to one trip.

    Attributes:
        sentence: the explanation, in one or two sentences.
        has_user: whether Supabase has the user's row; None if it could not be read.
        has_trip: likewise.
        is_trip_member: the result of that function for the user; None if it cannot be called.
        desired: None if the relay could not be queried.
    """

    verdict: Outcome
    sentence: str
    readings: Sequence[Reading] = ()
    membership: Membership | None = None
    has_user: bool | None = None
    has_trip: bool | None = None
    is_trip_member: bool | None = None
    desired: Desired | None = None


async def check_access(
    project: Project,
    user: ProbeClient,
    *,
    user_id: str,
    trip_id: str,
    tables: Sequence[str],
    desired: Desired | None,
) -> Access:
    """Read a trip as a user, and the existing rows with the relay's key."""
    rows = await read_rows(
        project.relay, project.targets, user_id=user_id, trip_id=trip_id, desired=desired
    )
    if rows.verdict is not Outcome.NO_ROWS:
        return rows
    readings = await read_trip(project, user, trip_id, tables)
    result = await user.call("is_trip_member", {"trip_id": trip_id})
    is_trip_member = result if isinstance(result, bool) else None
    access = replace(
        rows,
        verdict=_decide(readings, is_trip_member),
        readings=readings,
        is_trip_member=is_trip_member,
    )
    return replace(access, sentence=_explain(access, project.targets.memberships.inactive))


async def explain_rows(
    relay: ProbeClient, targets: Targets, *, user_id: str, trip_id: str, desired: Desired | None
) -> Access:
    """Explain the access by the rows alone, without reading as the user.

    The verdict holds if the policies require an ACTIVE membership.
    """
    access = await read_rows(relay, targets, user_id=user_id, trip_id=trip_id, desired=desired)
    if access.verdict is not Outcome.NO_ROWS:
        return access
    is_active = access.membership is not None and access.membership.status == "ACTIVE"
    verdict = Outcome.ALLOWED if is_active else Outcome.DENIED
    expectation = f"Should {'' if is_active else 'not '}be able to read"
    lag = _describe_lag(desired)
    if lag:
        sentence = f"{expectation} at the moment. {lag}"
    elif is_active:
        leak = _describe_leak(desired)
        sentence = f"{expectation}: the membership is ACTIVE in Supabase.{leak}"
    else:
        sentence = f"{expectation}: {_explain_membership(access, targets.memberships.inactive)}"
    return replace(access, verdict=verdict, sentence=sentence)


async def read_rows(
    relay: ProbeClient, targets: Targets, *, user_id: str, trip_id: str, desired: Desired | None
) -> Access:
    """Read the membership and its parents with the relay's key.

    Returns:
        The rows, without a verdict (`NO_ROWS`); UNREACHABLE or UNKNOWN with a sentence if the
        memberships cannot be read.
    """
    columns = targets.memberships.columns
    role, status = columns["role"], columns["status"]
    filters = {columns["trip_id"]: f"eq.{trip_id}", columns["user_id"]: f"eq.{user_id}"}
    rows = await relay.read_rows(targets.memberships, (role, status), filters=filters)
    if isinstance(rows, RequestFailure):
        is_outage = rows.kind is RequestFailureKind.UNAVAILABLE
        return Access(
            Outcome.UNREACHABLE if is_outage else Outcome.UNKNOWN,
            f"The memberships in Supabase could not be read: {rows.code}, {rows.message}."
            " relay doctor finds the cause.",
            desired=desired,
        )
    return Access(
        Outcome.NO_ROWS,
        "",
        membership=Membership(str(rows[0][role]), str(rows[0][status])) if rows else None,
        has_user=await _has_row(relay, targets.users, user_id),
        has_trip=await _has_row(relay, targets.trips, trip_id),
        desired=desired,
    )


async def _has_row(relay: ProbeClient, target: Target, row_id: str) -> bool | None:
    key = target.columns["id"]
    rows = await relay.read_rows(target, (key,), filters={key: f"eq.{row_id}"})
    return None if isinstance(rows, RequestFailure) else bool(rows)


def _decide(readings: Sequence[Reading], is_trip_member: bool | None) -> Outcome:
    outcomes = {reading.outcome for reading in readings}
    for outcome in (Outcome.DENIED, Outcome.ALLOWED, Outcome.UNKNOWN):
        if outcome in outcomes:
            return outcome
    if is_trip_member is None:
        return Outcome.UNKNOWN
    return Outcome.ALLOWED if is_trip_member else Outcome.DENIED


def _explain(access: Access, inactive: Inactive) -> str:
    status = "missing" if access.membership is None else access.membership.status
    lag = _describe_lag(access.desired)
    if access.verdict is Outcome.UNKNOWN:
        details = [r.detail for r in access.readings if r.outcome is Outcome.UNKNOWN]
        detail = details[0] if details else "no table has rows of this trip"
        return f"Reading as this user failed: {detail}. The membership in Supabase is {status}."
    if access.verdict is Outcome.ALLOWED:
        if lag:
            return f"Allowed at the moment. {lag}"
        if status == "ACTIVE":
            return (
                "Allowed: the membership is ACTIVE in Supabase, and the policies permit reading."
                f"{_describe_leak(access.desired)}"
            )
        return (
            f"Allowed although the membership is {status} in Supabase: a policy does not require an"
            " ACTIVE membership. relay doctor --db-url … names it."
        )
    if lag:
        return f"Denied. {lag}"
    if status == "ACTIVE":
        tables = ", ".join(r.table for r in access.readings if r.outcome is Outcome.DENIED)
        return (
            f"Denied although the membership is ACTIVE: the policies of {tables} do not let this"
            " member read. relay doctor --db-url … names them."
        )
    return f"Denied: {_explain_membership(access, inactive)}"


def _explain_membership(access: Access, inactive: Inactive) -> str:
    """Explain a membership that gives no access."""
    status = "missing" if access.membership is None else access.membership.status
    reason = _explain_state(access.desired, inactive, is_missing=access.membership is None)
    parts = [f"the membership is {status} in Supabase{reason}."]
    if access.membership is None:
        parts += ["The trip is missing, too."] if access.has_trip is False else []
        parts += ["The user is missing, too."] if access.has_user is False else []
    return " ".join(parts)


def _describe_lag(desired: Desired | None) -> str:
    if desired is None or desired.state not in ("pending", "dead"):
        return ""
    what = "removal of the membership" if desired.is_removed else "membership"
    change = f"the {what} of {desired.desired_version_at}"
    error = ""
    if desired.last_error_code:
        error = f" Last error: {desired.last_error_code}, {desired.last_error}."
    if desired.state == "dead":
        return f"Supabase rejected {change}, which is dead.{error} Fix the cause, then replay it."
    attempt = f", next attempt at {desired.next_attempt_at}" if desired.next_attempt_at else ""
    return f"Supabase is behind: {change} is pending since {desired.pending_since}{attempt}.{error}"


def _describe_leak(desired: Desired | None) -> str:
    """Describe an ACTIVE membership that the relay has removed."""
    if desired is None or not desired.is_removed:
        return ""
    return (
        f" The relay removed it, as desired since {desired.desired_version_at}, so another client"
        " wrote it again. A check for drift removes it: relay reconcile."
    )


def _explain_state(desired: Desired | None, inactive: Inactive, *, is_missing: bool) -> str:
    if desired is None:
        return "; the relay could not be queried for the reason"
    if desired.state is None:
        return "; the relay has received no event about it from the backend"
    if desired.is_removed or not is_missing:
        return f", which is the desired state since {desired.desired_version_at}"
    if inactive is Inactive.REMOVE:
        return (
            f"; the relay applied the membership of {desired.desired_version_at}: it is not ACTIVE"
            " and TARGET_MEMBERSHIPS removes such rows, or another client deleted the row"
        )
    return (
        f"; the relay applied the membership of {desired.desired_version_at}, so another client"
        " deleted the row. A replay writes it again"
    )
