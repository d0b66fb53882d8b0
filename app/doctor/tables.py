"""Check that the tables are as the relay writes them: columns, unique keys, privileges, values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from app.doctor import fixes, probes
from app.doctor.catalog import Catalog, TableFacts
from app.doctor.findings import (
    USE_DB_URL,
    Finding,
    Status,
    command,
    ok,
    problem,
    skipped,
    sql,
)
from app.doctor.fixes import name_target
from app.doctor.probes import ProbeClient
from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.identifiers import name_table
from app.supabase.targets import Target, Targets

_SETTING: Final[Mapping[Kind, str]] = {
    Kind.USER: "TARGET_USERS",
    Kind.TRIP: "TARGET_TRIPS",
    Kind.MEMBERSHIP: "TARGET_MEMBERSHIPS",
}


async def plans_empty_upserts(relay: ProbeClient, targets: Targets) -> bool:
    """Tell whether PostgreSQL plans an upsert of no rows, so that it fails without a unique key.

    It does behind PostgREST; @supabase/lite responds by itself.
    """
    target = targets.trips
    # No project has a unique index on the names of trips by themselves.
    failure = await relay.probe_upsert(target, (target.columns["name"],))
    return failure is not None and failure.code == probes.NO_SUCH_KEY


async def check_table(
    relay: ProbeClient,
    target: Target,
    catalog: Catalog | None,
    *,
    plans_upserts: bool,
    values: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Check one table, in the catalog if it was read."""
    table = None if catalog is None else catalog.find_table(target)
    columns = await _check_columns(relay, target)
    findings = []
    if columns.status is Status.OK:
        upsert = await relay.probe_upsert(target) if plans_upserts else None
        findings.append(await _check_privileges(relay, target, upsert))
        if table is None:
            findings.append(_evaluate_upsert(target, upsert, plans_upserts=plans_upserts))
            findings.append(_evaluate_required(target, await relay.read_required_columns(target)))
    elif columns.status is Status.SKIPPED and catalog is not None:
        columns = _evaluate_columns(target, None if table is None else table.columns)
    if table is not None:
        findings += _evaluate_table(table, target, values)
    return [columns, *findings]


async def _check_columns(relay: ProbeClient, target: Target) -> Finding:
    """Check that the relay can read every column that it writes."""
    check, name = f"columns:{target.table}", name_target(target)
    failure = await _read(relay, target, target.written_columns)
    if failure is None:
        return _evaluate_columns(target, target.written_columns)
    if failure.code == probes.NOT_EXPOSED:
        what = f"{name} was not checked: the API does not expose its schema."
        why = "The relay can still write to it, through its functions."
        return skipped(check, what, why, USE_DB_URL)
    if failure.code in probes.NO_SUCH_TABLE:
        return _evaluate_columns(target, None)
    if failure.code == probes.LACKS_PRIVILEGE:
        return _lacks_privilege(check, target, "select")
    if failure.code not in probes.NO_SUCH_COLUMN:
        return _failed(check, name, failure)
    existing = [
        column
        for column in target.written_columns
        if (alone := await _read(relay, target, (column,))) is None
        or alone.code not in probes.NO_SUCH_COLUMN
    ]
    return _evaluate_columns(target, existing)


async def _read(
    relay: ProbeClient, target: Target, columns: Sequence[str]
) -> RequestFailure | None:
    rows = await relay.read_rows(target, columns, limit=0)
    return rows if isinstance(rows, RequestFailure) else None


async def _check_privileges(
    relay: ProbeClient, target: Target, upsert: RequestFailure | None
) -> Finding:
    failures = {
        "delete": await relay.probe_delete(target),
        "update": await relay.probe_update(target),
        "insert": upsert,
    }
    check = f"writable:{target.table}"
    denied = [verb for verb, failure in failures.items() if _is_denied(failure)]
    if denied:
        return _lacks_privilege(check, target, " and ".join(denied))
    return ok(check, f"The relay's key can write {name_target(target)}.")


def _is_denied(failure: RequestFailure | None) -> bool:
    return failure is not None and failure.code == probes.LACKS_PRIVILEGE


def _evaluate_upsert(
    target: Target, upsert: RequestFailure | None, *, plans_upserts: bool
) -> Finding:
    check, name = f"unique:{target.table}", name_target(target)
    if not plans_upserts or _is_denied(upsert):
        what = f"Whether ({', '.join(target.key_columns)}) of {name} is unique was not checked."
        why = "Without a unique key Supabase rejects every upsert."
        return skipped(check, what, why, USE_DB_URL)
    if upsert is None or upsert.code == probes.NO_SUCH_KEY:
        return _evaluate_key(target, is_unique=upsert is None)
    return _failed(check, name, upsert)


def _evaluate_table(
    table: TableFacts, target: Target, values: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    is_unique = any(set(key) == set(target.key_columns) for key in table.unique_keys)
    yield _evaluate_key(target, is_unique=is_unique)
    yield _evaluate_required(target, table.required)
    yield _evaluate_publication(table, target)
    for field in values if target.kind is Kind.MEMBERSHIP else ():
        if target.columns[field] in table.enums:
            yield _evaluate_enum(table, target, field, values[field])


def _evaluate_columns(target: Target, existing: Sequence[str] | None) -> Finding:
    """Report missing columns; None: the table does not exist."""
    check, name, columns = f"columns:{target.table}", name_target(target), target.written_columns
    waits = f"The relay keeps every {target.kind} pending until it exists."
    if existing is None:
        return problem(
            check,
            f"{name} does not exist.",
            f"{waits} If your table has another name, set {_SETTING[target.kind]}. supabase db push"
            " creates ours with its policies, from supabase/migrations.",
            fixes.create_table(target),
        )
    missing = [column for column in columns if column not in existing]
    if missing:
        return problem(
            check,
            f"{name} has no column {', '.join(missing)}.",
            f"{waits} If your column has another name, map it with {_SETTING[target.kind]}.",
            fixes.add_columns(target, missing),
        )
    return ok(check, f"{name} has the columns {', '.join(columns)}.")


def _evaluate_key(target: Target, *, is_unique: bool) -> Finding:
    check = f"unique:{target.table}"
    key = f"({', '.join(target.key_columns)}) of {name_target(target)}"
    if is_unique:
        return ok(check, f"{key} is unique.")
    return problem(
        check,
        f"{key} is not unique.",
        "Supabase rejects every write (42P10), as an upsert needs a unique key to find its row."
        " Before the fix, delete rows that share a key.",
        fixes.make_unique(target),
    )


def _evaluate_required(target: Target, required: Sequence[str] | None) -> Finding:
    check, name = f"required:{target.table}", name_target(target)
    if required is None:
        what = f"Whether {name} has other required columns was not checked."
        why = "Supabase rejects new rows that lack a value for a required column."
        return skipped(check, what, why, USE_DB_URL)
    missing = [column for column in required if column not in target.written_columns]
    if not missing:
        return ok(check, f"The relay writes every required column of {name}.")
    return problem(
        check,
        f"{name} has required columns that the relay does not write: {', '.join(missing)}.",
        f"Supabase rejects every new {target.kind} (23502). The fix makes the columns nullable; to"
        f" have the relay write them, use copy, constants or extra in {_SETTING[target.kind]}.",
        fixes.drop_not_null(target, missing),
    )


def _evaluate_publication(table: TableFacts, target: Target) -> Finding:
    check, name = f"published:{target.table}", name_target(target)
    if not table.is_published:
        return ok(check, f"Realtime does not publish changes of {name}.")
    return problem(
        check,
        f"Realtime publishes changes of {name}.",
        "Realtime applies no policy to deleted rows: every subscriber learns who left which trip.",
        sql(f"alter publication supabase_realtime drop table {name};"),
    )


def _evaluate_enum(table: TableFacts, target: Target, field: str, wanted: Sequence[str]) -> Finding:
    column = target.columns[field]
    schema, enum, labels = table.enums[column]
    missing = [value for value in wanted if value not in labels]
    check, name = f"values:{target.table}.{column}", name_table(schema, enum)
    if not missing:
        return ok(check, f"The enum {name} has every {field}.")
    return problem(
        check,
        f"The enum {name} of {name_target(target)}.{column} lacks {', '.join(missing)}.",
        f"Supabase rejects memberships with such a {field} (22P02), revocations among them.",
        fixes.add_enum_values(name, missing),
    )


def _lacks_privilege(check: str, target: Target, verbs: str) -> Finding:
    return problem(
        check,
        f"The relay's key lacks the privilege to {verbs} on {name_target(target)}.",
        "All writes wait. service_role bypasses Row Level Security, but still needs privileges.",
        fixes.grant_to_relay(target),
    )


def _failed(check: str, name: str, failure: RequestFailure) -> Finding:
    return skipped(
        check,
        f"{name} was not checked: {failure.code}, {failure.message}.",
        "The doctor does not know this error; the project's logs may.",
        command("relay doctor"),
        needs_optional_key=False,
    )
