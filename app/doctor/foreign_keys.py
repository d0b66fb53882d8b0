"""Check the foreign keys that a delete meets: those that reject it, and those that slow it down.

A delete from a permission table meets every foreign key that refers to the table and, through
`on delete cascade`, those that refer to the tables of the rows deleted with it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from app.doctor.catalog import ForeignKeyFacts, OnDelete
from app.doctor.findings import Finding, Fix, ok, problem, sql
from app.doctor.fixes import name_target
from app.domain.entities import Kind
from app.supabase.identifiers import list_names, quote
from app.supabase.targets import Target, Targets


def evaluate_foreign_keys(keys: Sequence[ForeignKeyFacts], targets: Targets) -> list[Finding]:
    """Check every foreign key that the delete of a user, trip or membership meets."""
    findings = [
        finding
        for key in _list_met(keys, targets)
        for finding in (_evaluate_action(key, targets), _evaluate_index(key))
        if finding is not None
    ]
    what = "No foreign key rejects or slows down the delete of a user, trip or membership."
    return findings or [ok("foreign-keys", what)]


def _list_met(keys: Sequence[ForeignKeyFacts], targets: Targets) -> Iterator[ForeignKeyFacts]:
    tables = [name_target(targets[kind]) for kind in Kind]
    for table in tables:  # grows by the tables that a cascade reaches
        for key in keys:
            if key.referenced_name != table:
                continue
            yield key
            if key.on_delete == OnDelete.CASCADE and key.table_name not in tables:
                tables.append(key.table_name)


def _evaluate_action(key: ForeignKeyFacts, targets: Targets) -> Finding | None:
    kept = _find_kept(key, targets)
    forced = set(key.nulled_columns) & set(key.not_null_columns)
    if key.on_delete in (OnDelete.NO_ACTION, OnDelete.RESTRICT):
        what = f"rejects the delete of a row of {key.referenced_name} while rows refer to it."
        why = "The relay retries for 24 hours (23503), then the removal is dead."
    elif key.on_delete == OnDelete.SET_NULL and forced:
        what = f"sets NOT NULL columns to null when a row of {key.referenced_name} is deleted."
        why = "PostgreSQL rejects the delete (23502) while rows refer to it; the removal is dead."
    elif key.on_delete == OnDelete.CASCADE and kept is not None:
        return problem(
            f"foreign-key:{key.table}.{key.name}",
            f'Foreign key "{key.name}" deletes rows of {key.table_name} together with a row of'
            f" {key.referenced_name}.",
            f"The relay keeps a {kept.kind} until the backend removes it, and does not learn of"
            f" such a delete. {_describe_fix(key, kept)}",
            _choose_fix(key, kept),
        )
    else:
        return None
    return problem(
        f"foreign-key:{key.table}.{key.name}",
        f'Foreign key "{key.name}" of {key.table_name} ({list_names(key.columns)}) {what}',
        f"{why}{_describe_access(key, targets)} {_describe_fix(key, kept)}",
        _choose_fix(key, kept),
    )


def _evaluate_index(key: ForeignKeyFacts) -> Finding | None:
    if all(any(_finds_rows(index, key) for index in indexes) for indexes in key.indexes):
        return None
    columns = list_names(key.columns)
    why = (
        f"PostgreSQL searches all of {key.table_name} for each row deleted from"
        f" {key.referenced_name}. A request that takes longer than 5 s is cancelled and retried."
    )
    create = "create index"
    if not key.is_partitioned:
        why += " Run the fix by itself: concurrently does not work in a transaction."
        create = "create index concurrently"
    return problem(
        f"foreign-key-index:{key.table}.{key.name}",
        f"No index of {key.table_name} leads with ({columns}), the columns of foreign key"
        f' "{key.name}".',
        why,
        sql(f"{create} on {key.table_name} ({columns});"),
    )


def _finds_rows(index: Sequence[str | None], key: ForeignKeyFacts) -> bool:
    """Tell whether an index finds the rows that refer to one row.

    Its leading columns must be all of the key's, or enough of them to identify that row.
    """
    leading = set(takewhile(lambda column: column in key.columns, index))
    if leading == set(key.columns):
        return True
    pairs = zip(key.columns, key.referenced_columns, strict=True)
    referenced = {theirs for own, theirs in pairs if own in leading}
    return any(referenced.issuperset(unique) for unique in key.referenced_keys)


def _choose_fix(key: ForeignKeyFacts, kept: Target | None) -> Fix:
    if kept is None:
        return sql(*_recreate(key, "CASCADE"))
    if _is_written(key, kept):
        return sql(f"alter table {key.table_name} drop constraint {quote(key.name)};")
    return sql(
        *(
            f"alter table {key.table_name} alter column {quote(column)} drop not null;"
            for column in key.not_null_columns
        ),
        *_recreate(key, "SET NULL"),
    )


def _describe_fix(key: ForeignKeyFacts, kept: Target | None) -> str:
    if kept is None:
        return "The fix deletes those rows, too; to keep them, write on delete set null instead."
    if _is_written(key, kept):
        return "The fix drops the constraint: the backend decides what these columns hold."
    return "The fix sets the reference to null and keeps the row."


def _recreate(key: ForeignKeyFacts, action: str) -> Iterator[str]:
    name = quote(key.name)
    definition = re.sub(
        r"(?: ON DELETE (?:CASCADE|RESTRICT|SET (?:NULL|DEFAULT)(?: \([^()]*\))?))?"
        r"((?: DEFERRABLE| INITIALLY DEFERRED)*)( NOT VALID)?$",
        rf" ON DELETE {action}\1",
        key.definition,
        count=1,
    )
    # Validated afterwards, under a lock that lets others write; partitioned tables cannot.
    yield f"alter table {key.table_name}"
    yield f"  drop constraint {name},"
    yield f"  add constraint {name} {definition}{'' if key.is_partitioned else ' NOT VALID'};"
    if not key.is_partitioned and not key.definition.endswith("NOT VALID"):
        yield f"alter table {key.table_name} validate constraint {name};"


def _describe_access(key: ForeignKeyFacts, targets: Targets) -> str:
    if key.referenced_name == name_target(targets.memberships):
        return " Meanwhile the member keeps access."
    if key.referenced_name in [name_target(targets[kind]) for kind in Kind]:
        return ""
    return f" Rows of {key.referenced_name} are deleted with rows of the permission tables."


def _find_kept(key: ForeignKeyFacts, targets: Targets) -> Target | None:
    """Find the target whose rows refer here and must outlive the row that they refer to.

    Not so memberships: they belong to both their trip and their user.
    """
    users_and_trips = (targets.users, targets.trips)
    return next((t for t in users_and_trips if name_target(t) == key.table_name), None)


def _is_written(key: ForeignKeyFacts, target: Target) -> bool:
    return not set(key.columns).isdisjoint(target.written_columns)
