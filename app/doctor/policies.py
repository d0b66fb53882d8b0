"""Check that only ACTIVE members read the rows of a trip: by trying, and by the policies' text.

A policy or function that names the memberships but never their status cannot tell a former member
from a current one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from app.doctor.access import Outcome, read_trip
from app.doctor.catalog import Catalog, FunctionFacts, TableFacts
from app.doctor.findings import USE_DB_URL, Finding, Status, ok, problem, setting, skipped
from app.doctor.fixes import alter_policies, enable_row_security, is_member, name_table, quote
from app.doctor.project import Project
from app.domain.failures import RequestFailure
from app.supabase.targets import Inactive, Targets

_CHECK: Final = "status"
_REMOVED: Final = ok(
    _CHECK, "The relay removes memberships that are not ACTIVE: no policy can accept one."
)
_REMOVE: Final = setting('TARGET_MEMBERSHIPS=\'{"inactive": "remove"}\'')
_WHY: Final = "Former members keep reading the trip."
_HOW: Final = (
    "Have the policies check the status. Or have the relay remove such rows: add the setting to"
    " your TARGET_MEMBERSHIPS, then run relay replay --all."
)
_OPEN: Final = "Removing a membership has no effect on who reads the rows."


async def check_trip_tables(
    project: Project, trip_tables: Sequence[str], catalog: Catalog | None
) -> list[Finding]:
    """Check as an INACTIVE member what policies permit, and read them if the catalog was read."""
    tried = await _try_reads(project, trip_tables)
    if catalog is None:
        return [tried]
    read = [*_evaluate_policies(catalog, project.targets)]
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
        return problem(_CHECK, what, f"{_WHY} {_HOW}", _REMOVE)
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


def _evaluate_policies(catalog: Catalog, targets: Targets) -> Iterator[Finding]:
    """Check the policies of the tables whose rows belong to a trip."""
    unaware = [f for f in catalog.functions if _ignores_status(f.definition, targets)]
    # Users may read their own memberships of any status.
    memberships = catalog.find_table(targets.memberships)
    findings = [
        finding
        for table in catalog.tables
        if table != memberships and "select" in table.privileges.get("authenticated", ())
        for finding in _evaluate_table(catalog, table, unaware, targets)
    ]
    yield from findings
    if targets.memberships.inactive is Inactive.REMOVE:
        yield _REMOVED
    elif not findings:
        yield ok(_CHECK, "Every policy on the tables of a trip requires an ACTIVE membership.")


def _evaluate_table(
    catalog: Catalog, table: TableFacts, unaware: Sequence[FunctionFacts], targets: Targets
) -> Iterator[Finding]:
    trip = _find_trip_column(table, targets)
    if trip is None:
        return
    check, name = f"row-security:{table.name}", name_table(table.schema, table.name)
    condition = is_member(targets, f"{quote(table.name)}.{quote(trip)}")
    # The checks of client access report trips that are open to all.
    is_trips = table == catalog.find_table(targets.trips)
    if not table.has_row_security:
        if not is_trips:
            what = f"Row Level Security is off on {name}: everyone reads the rows of every trip."
            yield problem(check, what, _OPEN, enable_row_security(name, condition))
        return
    policies = [p for p in catalog.list_policies(table) if p.applies("authenticated", "select")]
    status = targets.memberships.columns["status"]
    is_status_checked = targets.memberships.inactive is Inactive.REMOVE or any(
        _names(p.using or "", status) for p in policies if not p.is_permissive
    )
    for policy in policies:
        using = policy.using or "true"
        if not policy.is_permissive:
            continue
        if using == "true" and not is_trips:
            what = f'Policy "{policy.name}" lets every user read every row of {name}.'
            yield problem(check, what, _OPEN, alter_policies(name, {policy.name: condition}))
        elif not is_status_checked and _ignores_status(using, targets):
            what = f'Policy "{policy.name}" on {name} accepts memberships of any {status}.'
            fix = alter_policies(name, {policy.name: f"({using}) and {condition}"})
            yield problem(f"{_CHECK}:{table.name}", what, _WHY, fix)
        elif not is_status_checked:
            for function in (f for f in unaware if _names(using, f.name)):
                what = (
                    f'Policy "{policy.name}" on {name} calls {function.schema}.{function.name},'
                    f" which accepts memberships of any {status}."
                )
                yield problem(f"{_CHECK}:{table.name}", what, f"{_WHY} {_HOW}", _REMOVE)


def _find_trip_column(table: TableFacts, targets: Targets) -> str | None:
    trips = targets.trips
    if (table.schema, table.name) == (trips.schema or "public", trips.table):
        return trips.columns["id"]
    names = ("trip_id", targets.memberships.columns["trip_id"])
    return next((name for name in names if name in table.columns), None)


def _ignores_status(text: str, targets: Targets) -> bool:
    memberships = targets.memberships
    return _names(text, memberships.table) and not _names(text, memberships.columns["status"])


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
