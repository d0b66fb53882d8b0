"""Check a Supabase project without changing it: over HTTP, and in its database if inspected."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from app.doctor import (
    client_access,
    foreign_keys,
    functions,
    policies,
    privileges,
    public_channels,
    publication,
    raising_policies,
    tables,
    topic_checks,
)
from app.doctor.connectivity import check_connectivity
from app.doctor.database import Role
from app.doctor.findings import Finding, Status, command, skipped
from app.doctor.inspection import Inspection
from app.doctor.project import Project
from app.domain.entities import Kind
from app.supabase.targets import Targets

_UNREACHABLE: Final = skipped(
    "tables",
    "Tables, functions and policies were not checked.",
    "Supabase must be reachable first.",
    command("relay doctor"),
    needs_optional_key=False,
)


async def check_project(
    project: Project,
    inspection: Inspection | None,
    *,
    values: Mapping[str, Sequence[str]],
    trip_tables: Sequence[str],
    report_progress: Callable[[str], None],
) -> list[Finding]:
    """Check a project, in its database if that was inspected."""
    catalog = None if inspection is None else inspection.catalog
    report_progress("the connection to Supabase")
    findings = await check_connectivity(project)
    if findings[0].status is Status.PROBLEM:
        return [*findings, _UNREACHABLE]
    report_progress("the tables")
    relay, targets = project.relay, project.targets
    plans_upserts = await tables.plans_empty_upserts(relay, targets)
    for kind in Kind:
        findings += await tables.check_table(
            relay, targets[kind], catalog, plans_upserts=plans_upserts, values=values
        )
    report_progress("the relay's functions")
    findings += await functions.check_functions(relay, catalog)
    for role in Role:
        report_progress(f"the access of {role}")
        findings += await client_access.check_access(
            project, role, catalog, plans_upserts=plans_upserts
        )
    if inspection is not None:
        # Before the policies of trip tables: their fixes contain the fix of a policy that raises.
        findings += raising_policies.evaluate_raising(inspection.raising)
    report_progress("the access of former members")
    findings += await policies.check_trip_tables(project, trip_tables, inspection)
    report_progress("what Realtime sends")
    findings.append(await public_channels.check_public_channels(project, catalog))
    if inspection is not None:
        findings += _evaluate_database(inspection, targets)
    return findings


def _evaluate_database(inspection: Inspection, targets: Targets) -> Iterator[Finding]:
    catalog, trip_tables = inspection.catalog, inspection.trip_tables
    yield from publication.evaluate_publication(catalog, trip_tables, targets)
    yield from topic_checks.evaluate_topics(catalog, inspection.topics, targets)
    yield from privileges.evaluate_privileges(catalog, trip_tables, targets)
    yield from foreign_keys.evaluate_foreign_keys(catalog.foreign_keys, targets)
