"""The sentence that answers "why do I get 403": Supabase's row against what the relay desires."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.supabase.targets import Inactive


@dataclass(frozen=True, slots=True)
class Membership:
    """The row in Supabase."""

    role: str
    status: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What the relay holds of the membership; instants are as the relay writes them.

    Attributes:
        event_id: of the latest event about it; None if the relay never had one, or keeps it no
            more.
        event_type: of that event.
        state: pending, applied or dead.
        is_removed: whether there should be no row.
        desired_version_at: when what is desired happened.
        pending_since: since when Supabase is behind.
        next_attempt_at: when it is tried again.
        last_error_code: SQLSTATE, PostgREST code or HTTP status.
        last_error: a sentence.
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


def explain(
    *,
    is_allowed: bool,
    is_known: bool,
    denied_tables: Sequence[str],
    membership: Membership | None,
    inactive: Inactive,
    has_user: bool | None,
    has_trip: bool | None,
    desired: Desired | None,
    detail: str,
) -> str:
    """Give the answer in one or two sentences."""
    if not is_known:
        where = "missing" if membership is None else membership.status
        return (
            f"It could not be read as this user: {detail or 'there is nothing to read it by'}."
            f" The membership in Supabase is {where}."
        )
    is_active = membership is not None and membership.status == "ACTIVE"
    behind = _describe_lag(desired)
    if is_allowed:
        if behind:
            return f"Allowed at the moment. {behind}"
        if not is_active:
            where = "missing" if membership is None else membership.status
            return (
                f"Allowed although the membership is {where} in Supabase: a policy does not ask for"
                " an ACTIVE one. relay doctor --db-url … names it."
            )
        return "Allowed: the membership is ACTIVE in Supabase, and the policies let its user read."
    if behind:
        return f"Denied. {behind}"
    if is_active:
        return (
            f"Denied although the membership is ACTIVE: the policies of {', '.join(denied_tables)}"
            " do not let this member read. relay doctor --db-url … names them."
        )
    if membership is not None:
        return f"Denied: the membership is {membership.status} in Supabase{_since(desired)}."
    return (
        f"Denied: there is no membership in Supabase{_why_missing(inactive, desired)}."
        + ("" if has_trip is not False else " Nor is there the trip.")
        + ("" if has_user is not False else " Nor is there the user.")
    )


def _describe_lag(desired: Desired | None) -> str:
    if desired is None or desired.state not in ("pending", "dead"):
        return ""
    what = "removal of the membership" if desired.is_removed else "membership"
    wanted = f"the {what} of {desired.desired_version_at}"
    error = (
        f" Last error: {desired.last_error_code}, {desired.last_error}."
        if desired.last_error_code
        else ""
    )
    if desired.state == "dead":
        return f"Supabase refused {wanted}, and it is dead.{error} Put that right, then replay it."
    attempt = f", next attempt at {desired.next_attempt_at}" if desired.next_attempt_at else ""
    return (
        f"Supabase is behind: {wanted} waits to be written since {desired.pending_since}{attempt}."
        f"{error}"
    )


def _since(desired: Desired | None) -> str:
    if desired is None:
        return "; the relay could not be asked why"
    if desired.state is None:
        return "; the relay knows of no event about it"
    return f", as the relay desires since {desired.desired_version_at}"


def _why_missing(inactive: Inactive, desired: Desired | None) -> str:
    if desired is None:
        return "; the relay could not be asked why"
    if desired.state is None:
        return "; the relay knows of no event about it: the backend has not sent one"
    if desired.is_removed:
        return f", as the relay desires since {desired.desired_version_at}"
    if inactive is Inactive.REMOVE:
        return (
            f"; the relay holds one of {desired.desired_version_at} and has written it: it is not"
            " ACTIVE, which TARGET_MEMBERSHIPS removes, or somebody else removed the row"
        )
    return (
        f"; the relay has written one of {desired.desired_version_at}, so somebody else removed the"
        " row. A replay writes it again"
    )
