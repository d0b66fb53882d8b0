"""Whether a member who is not ACTIVE still reads, shown by one who is there."""

from collections.abc import Sequence
from typing import Final

from app.doctor.findings import Finding, fine, problem, setting, unchecked
from app.doctor.inspection.project import Project
from app.doctor.tables import DEEPER
from app.domain.failures import RequestFailure
from app.supabase.targets import Inactive, Targets

CHECK: Final = "status"
REMOVE: Final = setting('TARGET_MEMBERSHIPS=\'{"inactive": "remove"}\'')
REMOVED: Final = fine(
    CHECK, "Memberships that are not ACTIVE are removed: no policy can take one for access."
)
_WHY: Final = (
    "A policy that takes any row of a membership for access lets former members read on. The"
    " setting has the relay remove such rows instead of keeping them (add it to what"
    " TARGET_MEMBERSHIPS holds, then replay all); or let the policies test the status."
)


async def examine_status(project: Project, targets: Targets, tables: Sequence[str]) -> Finding:
    """Read, as a member who is not ACTIVE, what he should not."""
    relay, target = project.relay, targets.memberships
    if target.inactive is Inactive.REMOVE:
        return REMOVED
    trip, user, status = (target.columns[field] for field in ("trip_id", "user_id", "status"))
    found = await relay.read_rows(target, (trip, user), filters={status: "neq.ACTIVE"})
    member = None
    if isinstance(found, list) and found:
        member = await project.as_user(str(found[0][user]))
    if member is None or isinstance(found, RequestFailure):
        return unchecked(
            CHECK,
            "Whether policies ask for an ACTIVE membership could not be seen: "
            + (
                "it takes the app's key and the project's JWT secret."
                if isinstance(found, list) and found
                else "no membership is INACTIVE."
            ),
            "A policy that takes any row of a membership for access lets former members read on.",
            DEEPER,
        )
    trip_id = str(found[0][trip])
    readable: list[str] = []
    hidden: list[str] = []
    for table, schema, column in (
        (targets.trips.table, targets.trips.schema, targets.trips.columns["id"]),
        *((table, None, "trip_id") for table in tables),
    ):
        filters = {column: f"eq.{trip_id}"}
        there = await relay.read_table(table, (column,), schema=schema, filters=filters)
        if isinstance(there, RequestFailure) or not there:
            continue
        seen = await member.read_table(table, (column,), schema=schema, filters=filters)
        (readable if isinstance(seen, list) and seen else hidden).append(table)
    if readable:
        return problem(
            CHECK,
            f"A member who is not ACTIVE still reads {', '.join(readable)}.",
            _WHY,
            REMOVE,
        )
    if hidden:
        return fine(CHECK, f"A member who is not ACTIVE reads nothing of {', '.join(hidden)}.")
    return unchecked(
        CHECK,
        "Whether policies ask for an ACTIVE membership could not be seen: the one member who is"
        " not ACTIVE has nothing to read.",
        "A policy that takes any row of a membership for access lets former members read on.",
        DEEPER,
    )
