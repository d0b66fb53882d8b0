"""Judging the foreign keys that a removal meets: those that refuse it, and those that slow it.

A removal from a permission table meets every foreign key that refers to it and, where rows are
removed with it by `on delete cascade`, those that refer to them in turn.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from app.doctor.findings import Finding, Fix, fine, problem, sql
from app.doctor.fixes import list_names, quote
from app.doctor.inspection.catalog import Catalog
from app.doctor.inspection.foreign_keys import ForeignKeyFacts, ReferentialAction
from app.domain.entities import Kind
from app.supabase.targets import Target, Targets

_REFUSALS = (ReferentialAction.NO_ACTION, ReferentialAction.RESTRICT)


def judge_foreign_keys(catalog: Catalog, targets: Targets) -> Iterator[Finding]:
    """Judge every foreign key that the removal of a user, trip or membership meets."""
    is_clear = True
    for key in _list_met(catalog.foreign_keys, targets):
        for finding in (_judge_action(key, targets), _judge_index(key)):
            if finding is not None:
                is_clear = False
                yield finding
    if is_clear:
        yield fine(
            "foreign-keys",
            "No foreign key refuses the removal of a user, trip or membership, or slows it for want"
            " of an index.",
        )


def _list_met(keys: Sequence[ForeignKeyFacts], targets: Targets) -> Iterator[ForeignKeyFacts]:
    tables = [_place(targets[kind]) for kind in Kind]
    for table in tables:  # grows by those that rows are removed from by cascade
        for key in keys:
            if (key.referenced_schema, key.referenced_table) != table:
                continue
            yield key
            child = (key.schema, key.table)
            if key.on_delete is ReferentialAction.CASCADE and child not in tables:
                tables.append(child)


def _judge_action(key: ForeignKeyFacts, targets: Targets) -> Finding | None:
    check = f"foreign-key:{key.table}.{key.name}"
    child, parent, columns = _name_child(key), _name_parent(key), list_names(key.columns)
    kept = _find_kept(key, targets)
    forced = [column for column in key.nulled_columns if column in key.not_null_columns]
    if key.on_delete in _REFUSALS:
        return problem(
            check,
            f'Foreign key "{key.name}" of {child} ({columns}) refuses the removal of a row of'
            f" {parent} while rows refer to it.",
            "The relay tries again for 24 hours (23503), then the removal is dead."
            f"{_describe_access(key, targets)} {_describe_fix(key, kept)}",
            _choose_fix(key, kept),
        )
    if key.on_delete is ReferentialAction.SET_NULL and forced:
        return problem(
            check,
            f'Foreign key "{key.name}" of {child} sets {list_names(forced)} to null when a row of'
            f" {parent} is removed, but no null is allowed there.",
            "The removal is refused (23502) while rows refer to it, and is dead."
            f"{_describe_access(key, targets)} {_describe_fix(key, kept)}",
            _choose_fix(key, kept),
        )
    if key.on_delete is ReferentialAction.CASCADE and kept is not None:
        return problem(
            check,
            f'Foreign key "{key.name}" removes rows of {child} together with a row of {parent}.',
            f"The relay keeps a {kept.kind} until the backend removes it, and does not learn that"
            f" another removal took it along. {_describe_fix(key, kept)}",
            _choose_fix(key, kept),
        )
    return None


def _judge_index(key: ForeignKeyFacts) -> Finding | None:
    if all(any(_finds_rows(index, key) for index in indexes) for indexes in key.indexes):
        return None
    child, columns = _name_child(key), list_names(key.columns)
    why = (
        f"Each removal of a row of {_name_parent(key)} searches all of {child} for rows that refer"
        " to it. A request that takes longer than 5 s is cancelled, and its removal waits."
    )
    check = f"foreign-key-index:{key.table}.{key.name}"
    what = f'No index of {child} leads with ({columns}), the columns of foreign key "{key.name}".'
    if key.is_partitioned:
        return problem(check, what, why, sql(f"create index on {child} ({columns});"))
    return problem(
        check,
        what,
        f"{why} Run the fix by itself: concurrently does not work inside a transaction.",
        sql(f"create index concurrently on {child} ({columns});"),
    )


def _finds_rows(index: Sequence[str | None], key: ForeignKeyFacts) -> bool:
    """Tell whether an index finds the rows that refer to one row.

    It does if its leading columns are all of the key's, or as many as say which row it is.
    """
    leading = set(takewhile(lambda column: column in key.columns, index))
    if leading == set(key.columns):
        return True
    referenced = {
        theirs
        for own, theirs in zip(key.columns, key.referenced_columns, strict=True)
        if own in leading
    }
    return any(unique <= referenced for unique in key.referenced_keys)


def _choose_fix(key: ForeignKeyFacts, kept: Target | None) -> Fix:
    if kept is None:
        return sql(*_recreate(key, ReferentialAction.CASCADE))
    child = _name_child(key)
    if _is_written(key, kept):
        return sql(f"alter table {child} drop constraint {quote(key.name)};")
    return sql(
        *(
            f"alter table {child} alter column {quote(column)} drop not null;"
            for column in key.not_null_columns
        ),
        *_recreate(key, ReferentialAction.SET_NULL),
    )


def _describe_fix(key: ForeignKeyFacts, kept: Target | None) -> str:
    if kept is None:
        return (
            "The fix removes those rows with it. Where they should stay, let it say on delete set"
            " null instead."
        )
    if _is_written(key, kept):
        return (
            "The fix drops the constraint: the backend decides what these columns hold, and the"
            " relay would write the same value again."
        )
    return "The fix empties the reference and keeps the row."


def _recreate(key: ForeignKeyFacts, action: ReferentialAction) -> Iterator[str]:
    child, name = _name_child(key), quote(key.name)
    parts = [
        f"foreign key ({list_names(key.columns)})",
        f"references {_name_parent(key)} ({list_names(key.referenced_columns)})",
        "match full" if key.is_match_full else "",
        "" if key.on_update is ReferentialAction.NO_ACTION else f"on update {key.on_update}",
        f"on delete {action}",
        "deferrable" if key.is_deferrable else "",
        "initially deferred" if key.is_deferred else "",
        # Validated afterwards, under a lock that lets others write; partitioned tables cannot.
        "" if key.is_partitioned else "not valid",
    ]
    yield f"alter table {child}"
    yield f"  drop constraint {name},"
    yield f"  add constraint {name} {' '.join(part for part in parts if part)};"
    if key.is_validated and not key.is_partitioned:
        yield f"alter table {child} validate constraint {name};"


def _describe_access(key: ForeignKeyFacts, targets: Targets) -> str:
    parent = (key.referenced_schema, key.referenced_table)
    if parent == _place(targets.memberships):
        return " Until it succeeds the member keeps access."
    if parent in [_place(targets[kind]) for kind in Kind]:
        return ""
    return f" Rows of {_name_parent(key)} are removed with rows of the permission tables."


def _find_kept(key: ForeignKeyFacts, targets: Targets) -> Target | None:
    """Find the target whose rows refer here and must not go with what they refer to.

    Memberships may: they belong to both their trip and their user.
    """
    return next(
        (
            targets[kind]
            for kind in (Kind.USER, Kind.TRIP)
            if _place(targets[kind]) == (key.schema, key.table)
        ),
        None,
    )


def _is_written(key: ForeignKeyFacts, target: Target) -> bool:
    return not set(key.columns).isdisjoint(target.written_columns)


def _place(target: Target) -> tuple[str, str]:
    return target.schema or "public", target.table


def _name_child(key: ForeignKeyFacts) -> str:
    return f"{quote(key.schema)}.{quote(key.table)}"


def _name_parent(key: ForeignKeyFacts) -> str:
    return f"{quote(key.referenced_schema)}.{quote(key.referenced_table)}"
