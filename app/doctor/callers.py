"""Whether apps can read or write the permission tables past what they should: tried, as they."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.doctor.findings import Finding, command, fine, problem, setting, unchecked
from app.doctor.fixes import (
    close_table,
    name_table,
    narrow_policies,
    revoke_reads,
    revoke_writes,
)
from app.doctor.inspection.probes import LACKS_PRIVILEGE, Inspection
from app.doctor.tables import DEEPER
from app.domain.failures import RequestFailure
from app.supabase.targets import Target, Targets

# Checked after Row Level Security, so that whoever gets so far has passed it.
_PAST_ROW_LEVEL_SECURITY = ("23502", "23503", "23505")


class Role(StrEnum):
    """The roles that an app has."""

    ANON = "anon"
    AUTHENTICATED = "authenticated"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with an app.

    Attributes:
        role: signed in or not.
        user_id: who; of anon, anybody's.
        is_stranger: whether no row can be his, so that he must read none.
        inspection: looks as he would.
    """

    role: Role
    user_id: str
    is_stranger: bool
    inspection: Inspection


async def examine_reads(
    relay: Inspection,
    caller: Caller,
    target: Target,
    targets: Targets,
    policies: Mapping[str, str | None],
) -> Finding:
    """Look whether he reads rows that are none of his.

    Args:
        relay: sees whether there is anything to read.
        caller: looks.
        target: at this.
        targets: all of them.
        policies: by name with what they ask, those that could let him; none where the catalog was
            not read, or says that Row Level Security is off.
    """
    check = f"reads-by-{caller.role}:{target.table}"
    name = name_table(target)
    rows = await caller.inspection.read_rows(target, target.key_columns)
    if isinstance(rows, RequestFailure):
        if rows.code == LACKS_PRIVILEGE:
            return fine(check, f"{caller.role} may not read {name}.")
        return refused(check, caller.role, name, rows)
    if rows and caller.is_stranger:
        return _reads_others(check, caller.role, target, targets, policies)
    if not caller.is_stranger:
        return unchecked(
            check,
            f"Whether a stranger reads {name} cannot be told by the token of a user who may"
            " have rows of his own.",
            "E-mail addresses and memberships are nobody else's business.",
            setting("SUPABASE_JWT_SECRET=…"),
        )
    seen = await relay.read_rows(target, target.key_columns)
    if isinstance(seen, list) and seen:
        return fine(check, f"{_name(caller.role)} reads none of the rows of {name}.")
    if caller.role is Role.ANON:
        return unchecked(
            check,
            f"anon holds the privilege to read {name}, which is empty: whether policies would"
            " stop it could not be seen.",
            "Only they stand between anybody with the app's key and its rows.",
            revoke_reads(target, caller.role),
        )
    return unchecked(
        check,
        f"Whether a stranger reads {name} could not be seen: it is empty.",
        "Run it again once there are rows, or let it look at the policies.",
        DEEPER,
    )


def _reads_others(
    check: str, role: Role, target: Target, targets: Targets, policies: Mapping[str, str | None]
) -> Finding:
    what = f"{_name(role)} reads rows of {name_table(target)}"
    why = (
        "Anybody who has the app has its key: who belongs to which trip, and e-mail addresses, are"
        " open to all."
    )
    if role is Role.ANON:
        return problem(check, f"{what}.", why, revoke_reads(target, role))
    if policies:
        named = ", ".join(f'"{name}"' for name in sorted(policies))
        return problem(
            check,
            f"{what}, by policy {named}.",
            f"{why} The fix leaves each user his own rows; where the app shows more, let the policy"
            " ask for what the two have in common.",
            narrow_policies(target, targets, policies),
        )
    return problem(
        check,
        f"{what}.",
        f"{why} The fix closes the table but for each user's own rows, where Row Level Security was"
        " off; where a policy lets him, relay doctor --db-url names it.",
        close_table(target, targets),
    )


async def examine_writes_by(
    caller: Caller, target: Target, targets: Targets, *, plans_writes: bool
) -> Finding:
    """Look whether he writes what only the relay should."""
    check = f"writes-by-{caller.role}:{target.table}"
    name = name_table(target)
    inspection = caller.inspection
    tried = {
        "update": await inspection.update_nothing(target),
        "delete": await inspection.remove_nothing(target),
    }
    if plans_writes:
        tried["insert"] = await inspection.insert_nothing(target)
    for outcome in tried.values():
        if outcome is not None and outcome.code != LACKS_PRIVILEGE:
            return refused(check, caller.role, name, outcome)
    held = [verb for verb, outcome in tried.items() if outcome is None]
    if "insert" in held:
        outcome = await inspection.insert_impossible(target, caller.user_id)
        if outcome is None or outcome.code in _PAST_ROW_LEVEL_SECURITY:
            return open_to_writes(check, caller.role, target, targets)
    if held:
        return unchecked(
            check,
            f"{caller.role} holds the privilege to {' and '.join(held)} on {name}; whether policies"
            " stop it for every row could not be seen.",
            "Nobody but the relay has to write it: without the privilege no policy, now or later,"
            " can open it.",
            revoke_writes(target),
        )
    if not plans_writes:
        return unchecked(
            check,
            f"Whether {caller.role} may insert into {name} could not be seen.",
            "Who can insert a membership lets himself in. This server does not ask its database"
            " about an insert of no rows.",
            DEEPER,
        )
    return fine(check, f"{caller.role} may not write {name}.")


def open_to_writes(check: str, role: Role, target: Target, targets: Targets) -> Finding:
    """Report the hole that makes all the rest idle."""
    return problem(
        check,
        f"{_name(role)} can insert into {name_table(target)}.",
        "The key is in every copy of the app: anybody can let himself into any trip, as its OWNER."
        " Nobody but the relay has to write here.",
        close_table(target, targets),
    )


def refused(check: str, role: Role, name: str, failure: RequestFailure) -> Finding:
    """Report that nothing could be tried as this caller."""
    return unchecked(
        check,
        f"{name} could not be tried as {role}: {failure.code}, {failure.message}.",
        "What apps can do there is not known."
        + (
            ""
            if role is Role.ANON
            else " A project that signs with keys of its own takes no token by a secret: hand in"
            " that of a user, by SUPABASE_USER_TOKEN, and leave the secret out."
        ),
        setting("SUPABASE_PUBLISHABLE_KEY=sb_publishable_…")
        if role is Role.ANON
        else setting("SUPABASE_JWT_SECRET=…"),
    )


def not_tried(role: Role) -> Finding:
    """Report that there is nothing to try it with."""
    if role is Role.ANON:
        return unchecked(
            "access-by-anon",
            "What anybody with the app's key can read and write was not tried.",
            "Without Row Level Security he can let himself into any trip, and often that is so.",
            command("relay doctor --publishable-key sb_publishable_…"),
        )
    return unchecked(
        "access-by-authenticated",
        "What a signed-in stranger can read and write was not tried.",
        "It takes the app's key, and the project's JWT secret to sign a token that is nobody's.",
        command("relay doctor --publishable-key sb_publishable_… --jwt-secret …"),
    )


def _name(role: Role) -> str:
    return "Anybody with the app's key" if role is Role.ANON else "A signed-in stranger"
