"""Check that only ACTIVE members reach the rows of a trip: over HTTP, and in the database."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.doctor.findings import USE_DB_URL, Finding, Status, ok, problem, skipped
from app.doctor.inspection import Inspection
from app.doctor.project import Project
from app.doctor.trip_policies import HOW, REMOVE, evaluate_trip_tables
from app.doctor.trip_reading import Outcome, read_trip
from app.domain.failures import RequestFailure
from app.supabase.targets import Inactive, Targets

_CHECK: Final = "status"
_REMOVED: Final = ok(
    _CHECK, "The relay removes memberships that are not ACTIVE: no policy can accept one."
)
_WHY: Final = "Former members keep reading the trip."


async def check_trip_tables(
    project: Project, trip_tables: Sequence[str], inspection: Inspection | None
) -> list[Finding]:
    """Read as an INACTIVE member, and check the policies if the database was inspected."""
    tried = await _try_reads(project, trip_tables)
    if inspection is None:
        return [tried]
    read = [*_evaluate_policies(inspection, project.targets)]
    if tried.status is Status.PROBLEM:
        read = [tried, *(finding for finding in read if finding.check != _CHECK)]
    return read


async def _try_reads(project: Project, trip_tables: Sequence[str]) -> Finding:
    """Read the tables of a trip as a member of it who is not ACTIVE."""
    target = project.targets.memberships
    if target.inactive is Inactive.REMOVE:
        return _REMOVED
    trip, user, status = (target.columns[field] for field in ("trip_id", "user_id", "status"))
    rows = await project.relay.read_rows(target, (trip, user), filters={status: "neq.ACTIVE"})
    if isinstance(rows, RequestFailure) or not rows:
        return _not_checked("no membership is INACTIVE")
    member = project.as_user(str(rows[0][user]))
    if member is None:
        return _not_checked("that needs the app's key and the project's JWT secret")
    readings = await read_trip(project, member, str(rows[0][trip]), trip_tables)
    readable = [reading.table for reading in readings if reading.outcome is Outcome.ALLOWED]
    hidden = [reading.table for reading in readings if reading.outcome is Outcome.DENIED]
    if readable:
        what = f"A member who is not ACTIVE still reads {', '.join(readable)}."
        return problem(_CHECK, what, f"{_WHY} {HOW}", REMOVE)
    if hidden:
        return ok(_CHECK, f"A member who is not ACTIVE reads no rows of {', '.join(hidden)}.")
    return _not_checked("the trip of an INACTIVE member has no rows")


def _not_checked(reason: str) -> Finding:
    return skipped(
        _CHECK,
        f"Whether policies require an ACTIVE membership was not checked: {reason}.",
        "If they do not, former members keep reading their trips.",
        USE_DB_URL,
    )


def _evaluate_policies(inspection: Inspection, targets: Targets) -> Iterator[Finding]:
    """Check the policies of the tables whose rows belong to a trip."""
    findings = list(
        evaluate_trip_tables(inspection.catalog, inspection.trip_tables, inspection.trials, targets)
    )
    yield from findings
    if targets.memberships.inactive is Inactive.REMOVE:
        yield _REMOVED
    elif not findings:
        yield ok(_CHECK, "Every policy on the tables of a trip requires an ACTIVE membership.")
