"""Judging what the catalog says: keys, required columns, and who can read and write by policy."""

import re
from collections.abc import Iterator, Mapping, Sequence

from app.doctor.callers import Role, open_to_writes
from app.doctor.findings import Finding, fine, problem, sql
from app.doctor.fixes import (
    close_table,
    name_table,
    own_rows,
    quote,
    revoke_writes,
)
from app.doctor.foreign_keys import judge_foreign_keys
from app.doctor.functions import judge_relay_functions
from app.doctor.inspection.catalog import Catalog, PolicyFacts, TableFacts
from app.doctor.policies import judge_functions, judge_policies
from app.doctor.tables import judge_required, no_unique_key
from app.domain.entities import Kind
from app.supabase.targets import Target, Targets

_WRITES = ("insert", "update", "delete")


def judge_catalog(
    catalog: Catalog, targets: Targets, statuses: Sequence[str], roles: Sequence[str]
) -> list[Finding]:
    """Judge everything that the catalog shows."""
    findings: list[Finding] = []
    for kind in Kind:
        target = targets[kind]
        facts = find_table(catalog, target)
        if facts is None:
            continue  # said already: it is not there
        findings.append(_judge_key(facts, target))
        findings.append(judge_required(target, facts.required))
        policies = _list_policies(catalog, facts)
        for role in Role:
            findings.append(_judge_reads(facts, policies, role, target, targets))
            findings.append(_judge_writes(facts, policies, role, target, targets))
        findings.append(_judge_published(facts, target))
        if kind is Kind.MEMBERSHIP:
            findings += _judge_values(facts, target, {"status": statuses, "role": roles})
    findings += judge_policies(catalog, targets)
    findings += judge_functions(catalog, targets)
    findings += judge_relay_functions(catalog)
    findings += judge_foreign_keys(catalog, targets)
    return findings


def find_reading_policies(
    catalog: Catalog | None, target: Target, role: Role
) -> Mapping[str, str | None]:
    """Find the policies by which a role may read rows, by name with what they ask."""
    facts = None if catalog is None else find_table(catalog, target)
    if catalog is None or facts is None or not facts.has_row_security:
        return {}
    letting = _list_letting(_list_policies(catalog, facts), role, "select")
    return {policy.name: policy.using for policy in letting}


def find_table(catalog: Catalog, target: Target) -> TableFacts | None:
    """Find a target's table."""
    place = (target.schema or "public", target.table)
    return next((table for table in catalog.tables if (table.schema, table.name) == place), None)


def _judge_key(facts: TableFacts, target: Target) -> Finding:
    if frozenset(target.key_columns) in facts.unique_keys:
        key = ", ".join(target.key_columns)
        what = f"({key}) of {name_table(target)} is unique: an upsert finds its row."
        return fine(f"unique:{target.table}", what)
    return no_unique_key(target)


def _judge_writes(
    facts: TableFacts, policies: Sequence[PolicyFacts], role: Role, target: Target, targets: Targets
) -> Finding:
    check = f"writes-by-{role}:{target.table}"
    name = name_table(target)
    held = [verb for verb in _WRITES if verb in facts.privileges.get(role, ())]
    if not held:
        return fine(check, f"{role} may not write {name}.")
    if not facts.has_row_security:
        return open_to_writes(check, role, target, targets)
    letting = [
        policy
        for verb in held
        for policy in _list_letting(policies, role, verb)
        # Of users and trips an app may well let its users change their own.
        if target.kind is Kind.MEMBERSHIP or _expression(policy, verb) == "true"
    ]
    if not letting:
        return fine(check, f"No policy lets {role} write any row of {name}.")
    named = ", ".join(sorted({f'"{policy.name}"' for policy in letting}))
    return problem(
        check,
        f"Policy {named} lets {role} write {name}.",
        "Whoever can write it lets himself in, or stays when he was removed. Nobody but the relay"
        " has to write here; without the privilege the policy opens nothing.",
        revoke_writes(target),
    )


def _judge_reads(
    facts: TableFacts, policies: Sequence[PolicyFacts], role: Role, target: Target, targets: Targets
) -> Finding:
    check = f"reads-by-{role}:{target.table}"
    name = name_table(target)
    if "select" not in facts.privileges.get(role, ()):
        return fine(check, f"{role} may not read {name}.")
    why = "Who belongs to which trip, and e-mail addresses, are open to all."
    if not facts.has_row_security:
        what = f"Row Level Security is off on {name}: {role} reads every row."
        return problem(check, what, why, close_table(target, targets))
    letting = [
        policy
        for policy in _list_letting(policies, role, "select")
        if _expression(policy, "select") == "true"
    ]
    if not letting:
        return fine(check, f"Row Level Security decides what {role} reads of {name}.")
    return problem(
        check,
        f'Policy "{letting[0].name}" lets {role} read every row of {name}.',
        why,
        sql(
            *(
                f"alter policy {quote(policy.name)} on {name} using ({own_rows(target, targets)});"
                for policy in letting
            )
        ),
    )


def _judge_published(facts: TableFacts, target: Target) -> Finding:
    check, name = f"published:{target.table}", name_table(target)
    if not facts.is_published:
        return fine(check, f"Realtime does not send changes of {name}.")
    return problem(
        check,
        f"Realtime sends the changes of {name}.",
        "It asks no policy about a row that is deleted: everybody who subscribes learns the key of"
        " each, that is who left which trip.",
        sql(f"alter publication supabase_realtime drop table {name};"),
    )


def _judge_values(
    facts: TableFacts, target: Target, values: dict[str, Sequence[str]]
) -> Iterator[Finding]:
    for field, wanted in values.items():
        column = target.columns[field]
        if column not in facts.enums:
            continue
        schema, enum, labels = facts.enums[column]
        missing = [value for value in wanted if value not in labels]
        check = f"values:{target.table}.{column}"
        if not missing:
            yield fine(check, f"{schema}.{enum} has every {field}.")
            continue
        yield problem(
            check,
            f"The enum {schema}.{enum} of {name_table(target)}.{column} lacks"
            f" {', '.join(missing)}.",
            f"A membership with such a {field} would be refused and dead (22P02); a removal of"
            " access among them.",
            sql(
                *(
                    f"alter type {quote(schema)}.{quote(enum)} add value if not exists"
                    f" '{value.replace(chr(39), chr(39) * 2)}';"
                    for value in missing
                )
            ),
        )


def _list_policies(catalog: Catalog, facts: TableFacts) -> list[PolicyFacts]:
    place = (facts.schema, facts.name)
    return [policy for policy in catalog.policies if (policy.schema, policy.table) == place]


def _list_letting(policies: Sequence[PolicyFacts], role: Role, verb: str) -> list[PolicyFacts]:
    """List the policies that let a role do this to some row; one that never does vetoes all."""
    applying = [policy for policy in policies if policy.applies(role, verb)]
    if any(
        not policy.is_permissive and _expression(policy, verb) == "false" for policy in applying
    ):
        return []
    return [
        policy
        for policy in applying
        if policy.is_permissive and _expression(policy, verb) != "false"
    ]


def _expression(policy: PolicyFacts, verb: str) -> str:
    text = policy.with_check or policy.using if verb == "insert" else policy.using
    return re.sub(r"^\((.*)\)$", r"\1", text or "true", flags=re.DOTALL)
