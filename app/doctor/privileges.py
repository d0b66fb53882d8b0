"""Check the privileges of clients that no policy limits or uses: truncate, and unused writes."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.doctor import fixes
from app.doctor.catalog import Catalog, TableFacts
from app.doctor.database import Role
from app.doctor.findings import Finding, ok, problem
from app.doctor.trip_tables import TripTable
from app.domain.entities import Kind
from app.supabase.targets import Targets

_WRITES: Final = ("insert", "update", "delete")
_WHY: Final = (
    "PostgreSQL checks no policy for truncate; the others wait for one policy that is too generous."
    " Hosted projects created before 30 May 2026 grant all of them on new tables."
)


def evaluate_privileges(
    catalog: Catalog, trip_tables: Sequence[TripTable], targets: Targets
) -> Iterator[Finding]:
    """Report what clients could do without a policy, in the tables that the doctor checks."""
    tables = [catalog.find_table(targets[kind]) for kind in Kind]
    tables += [table.table for table in trip_tables if table.table not in tables]
    findings = [
        finding
        for table in tables
        # Without Row Level Security, no policy limits anything: other checks report that.
        if table is not None and table.has_row_security
        for finding in _evaluate_table(catalog, table)
    ]
    what = "Clients have no privilege to truncate, and no privilege to write without a policy."
    yield from findings or [ok("privileges", what)]


def _evaluate_table(catalog: Catalog, table: TableFacts) -> Iterator[Finding]:
    roles: dict[tuple[str, ...], list[str]] = {}
    for role in Role:
        if verbs := tuple(_list_unused(catalog, table, role)):
            roles.setdefault(verbs, []).append(role)
    if roles:
        held = "; ".join(f"{', '.join(verbs)} ({', '.join(who)})" for verbs, who in roles.items())
        yield problem(
            f"privileges:{table.name}",
            f"Clients have privileges on {table.full_name} that no policy covers: {held}.",
            _WHY,
            fixes.revoke(table.full_name, roles),
        )


def _list_unused(catalog: Catalog, table: TableFacts, role: Role) -> Iterator[str]:
    held = table.privileges.get(role, ())
    for verb in _WRITES:
        if verb in held and not any(
            policy.is_permissive
            and policy.applies(role, verb)
            and "false" not in (policy.using, policy.with_check)
            for policy in catalog.list_policies(table)
        ):
            yield verb
    if "truncate" in held:
        yield "truncate"
