"""Judging policies and functions: whether they ask for an ACTIVE member, and cannot be led astray.

They are read as text, as PostgreSQL writes them out: what names the memberships and never their
status cannot tell a former member from a present one.
"""

import re
from collections.abc import Iterator, Sequence

from app.doctor.findings import Finding, fine, problem, sql
from app.doctor.fixes import is_member, quote
from app.doctor.inspection.catalog import Catalog, FunctionFacts, PolicyFacts, TableFacts
from app.doctor.status import CHECK, REMOVE, REMOVED
from app.supabase.targets import Inactive, Targets

_WHY = "A member who is made INACTIVE, not deleted, reads on."


def judge_policies(catalog: Catalog, targets: Targets) -> Iterator[Finding]:
    """Judge who reads the tables whose rows belong to a trip."""
    memberships = targets.memberships
    ignoring = [
        function for function in catalog.functions if _ignores(function.definition, targets)
    ]
    asks = True
    for table in catalog.tables:
        if table.schema == (memberships.schema or "public") and table.name == memberships.table:
            continue  # what is one's own may be read whatever its status
        trip = _find_trip_column(table, targets)
        if trip is None or "select" not in table.privileges.get("authenticated", ()):
            continue
        policies = [
            policy
            for policy in catalog.policies
            if (policy.schema, policy.table) == (table.schema, table.name)
            and policy.applies("authenticated", "select")
        ]
        for finding in _judge_table(table, trip, policies, ignoring, targets):
            asks = False
            yield finding
    if memberships.inactive is Inactive.REMOVE:
        yield REMOVED
    elif asks:
        yield fine(CHECK, "Every policy on what belongs to a trip asks for an ACTIVE membership.")


def judge_functions(catalog: Catalog, targets: Targets) -> Iterator[Finding]:
    """Judge the functions that answer for the memberships with their owner's rights."""
    for function in catalog.functions:
        if not function.is_definer or not _names(function.definition, targets.memberships.table):
            continue
        name = f"{quote(function.schema)}.{quote(function.name)}"
        check = f"search-path:{function.name}"
        if function.has_search_path:
            yield fine(check, f"{name} has a search_path of its own.")
        else:
            yield problem(
                check,
                f"{name} runs with its owner's rights and its caller's search_path.",
                "A caller can put a table or operator of his own before yours, and decide what it"
                " finds.",
                sql(
                    f"alter function {name}({function.arguments})"
                    " set search_path = public, pg_temp;"
                ),
            )


def _judge_table(
    table: TableFacts,
    trip: str,
    policies: Sequence[PolicyFacts],
    ignoring: Sequence[FunctionFacts],
    targets: Targets,
) -> Iterator[Finding]:
    name = f"{quote(table.schema)}.{quote(table.name)}"
    condition = is_member(targets, f"{quote(table.name)}.{quote(trip)}")
    is_target = table.name in (targets.trips.table, targets.users.table)
    if not table.has_row_security:
        if not is_target:  # of those it is said elsewhere
            yield problem(
                f"row-security:{table.name}",
                f"Row Level Security is off on {name}: everybody reads every trip's rows.",
                "No membership, granted or taken away, makes any difference to it.",
                sql(
                    f"alter table {name} enable row level security;",
                    f'create policy "relay: members read" on {name} for select to authenticated',
                    f"  using ({condition});",
                ),
            )
        return
    keeps = targets.memberships.inactive is Inactive.KEEP
    status = targets.memberships.columns["status"]
    vetoes = any(not p.is_permissive and _names(p.using or "", status) for p in policies)
    for policy in policies:
        expression = policy.using or "true"
        if not policy.is_permissive:
            continue
        if expression == "true" and not is_target:
            yield problem(
                f"row-security:{table.name}",
                f'Policy "{policy.name}" lets every user read every row of {name}.',
                "No membership, granted or taken away, makes any difference to it.",
                sql(f"alter policy {quote(policy.name)} on {name} using ({condition});"),
            )
        elif keeps and not vetoes and _ignores(expression, targets):
            yield problem(
                f"{CHECK}:{table.name}",
                f'Policy "{policy.name}" on {name} takes any membership for access, whatever its'
                f" {status}.",
                _WHY,
                sql(
                    f"alter policy {quote(policy.name)} on {name}",
                    f"  using (({expression}) and {condition});",
                ),
            )
        elif keeps and not vetoes:
            for function in ignoring:
                if _names(expression, function.name):
                    yield problem(
                        f"{CHECK}:{table.name}",
                        f'Policy "{policy.name}" on {name} asks {function.schema}.{function.name},'
                        f" which takes any membership for access, whatever its {status}.",
                        f"{_WHY} Let the function test it; or have the relay remove such rows"
                        " (add it to what TARGET_MEMBERSHIPS holds, then replay all).",
                        REMOVE,
                    )


def _find_trip_column(table: TableFacts, targets: Targets) -> str | None:
    trips = targets.trips
    if (table.schema, table.name) == (trips.schema or "public", trips.table):
        return trips.columns["id"]
    for column in ("trip_id", targets.memberships.columns["trip_id"]):
        if column in table.columns:
            return column
    return None


def _ignores(text: str, targets: Targets) -> bool:
    memberships = targets.memberships
    return _names(text, memberships.table) and not _names(text, memberships.columns["status"])


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
