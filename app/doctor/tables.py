"""Whether the tables are as the relay writes them: there, with their columns, keyed, writable."""

from collections.abc import Mapping, Sequence
from typing import Final

from app.doctor.findings import Finding, command, fine, problem, unchecked
from app.doctor.fixes import (
    add_columns,
    create_table,
    drop_not_null,
    grant_to_relay,
    make_unique,
    name_table,
)
from app.doctor.inspection.probes import (
    LACKS_PRIVILEGE,
    NO_SUCH_COLUMN,
    NO_SUCH_KEY,
    NO_SUCH_TABLE,
    NOT_EXPOSED,
    Inspection,
    TableDescription,
)
from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.targets import Target, Targets

DEEPER: Final = command("relay doctor --db-url postgresql://…")
_SETTING: Final[Mapping[Kind, str]] = {
    Kind.USER: "TARGET_USERS",
    Kind.TRIP: "TARGET_TRIPS",
    Kind.MEMBERSHIP: "TARGET_MEMBERSHIPS",
}
# Of each kind, a field that no project has a unique index on by itself.
_NEVER_UNIQUE: Final = ((Kind.MEMBERSHIP, "status"), (Kind.TRIP, "name"))


async def examine_table(relay: Inspection, target: Target) -> Finding:
    """Look whether the table and every column that the relay writes are there to be read."""
    check = f"columns:{target.table}"
    name = name_table(target)
    failure = await _look(relay, target, target.written_columns)
    if failure is None:
        columns = ", ".join(target.written_columns)
        return fine(check, f"{name} is there with {columns}.")
    if failure.code == NOT_EXPOSED:
        return unchecked(
            check,
            f"{name} could not be looked at: the API does not expose its schema.",
            "The relay writes there all the same, through its functions.",
            DEEPER,
        )
    if failure.code in NO_SUCH_TABLE:
        return problem(
            check,
            f"There is no table {name}.",
            f"The relay writes every {target.kind} to it, and waits until it can. Where yours has"
            f" another name, say so in {_SETTING[target.kind]}; where you have none, supabase db"
            " push applies the one in supabase/migrations, with its policies.",
            create_table(target),
        )
    if failure.code == LACKS_PRIVILEGE:
        return _lacks_privilege(check, target, "select")
    if failure.code not in NO_SUCH_COLUMN:
        return _not_understood(check, name, failure)
    missing = [
        column
        for column in target.written_columns
        if (alone := await _look(relay, target, (column,))) and alone.code in NO_SUCH_COLUMN
    ]
    return problem(
        check,
        f"{name} has no column {', '.join(missing)}.",
        f"Every write of a {target.kind} would be refused, and all would wait. Where the column has"
        f" another name, map it by {_SETTING[target.kind]}.",
        add_columns(target, missing),
    )


async def shows_keys(relay: Inspection, targets: Targets) -> bool:
    """Tell whether this server plans an upsert of no rows, so that its silence means something.

    PostgREST does; @supabase/lite answers by itself. Asked for a conflict on a column that nothing
    makes unique, it has to object.
    """
    for kind, field in _NEVER_UNIQUE:
        target = targets[kind]
        failure = await relay.upsert_nothing(target, (target.columns[field],))
        if failure is not None and failure.code == NO_SUCH_KEY:
            return True
    return False


async def examine_writes(relay: Inspection, target: Target, *, plans_writes: bool) -> list[Finding]:
    """Look whether the relay may write, and whether an upsert finds a unique key."""
    writable, unique = f"writable:{target.table}", f"unique:{target.table}"
    name, key = name_table(target), ", ".join(target.key_columns)
    removal = await relay.remove_nothing(target)
    update = await relay.update_nothing(target)
    failure = await relay.upsert_nothing(target) if plans_writes else None
    findings: list[Finding] = []
    refused = [
        verb
        for verb, outcome in (("delete", removal), ("update", update), ("insert", failure))
        if outcome is not None and outcome.code == LACKS_PRIVILEGE
    ]
    if refused:
        findings.append(_lacks_privilege(writable, target, " and ".join(refused)))
    else:
        findings.append(fine(writable, f"The relay may write {name}."))
    if not plans_writes or (failure is not None and failure.code == LACKS_PRIVILEGE):
        findings.append(
            unchecked(
                unique,
                f"Whether ({key}) of {name} is unique could not be seen from here.",
                "An upsert needs it to find the row; without it every write is refused.",
                DEEPER,
            )
        )
    elif failure is None:
        findings.append(fine(unique, f"({key}) of {name} is unique: an upsert finds its row."))
    elif failure.code == NO_SUCH_KEY:
        findings.append(no_unique_key(target))
    else:
        findings.append(_not_understood(unique, name, failure))
    return findings


def examine_required(
    target: Target, descriptions: Mapping[str, TableDescription] | RequestFailure
) -> Finding:
    """Look for columns that a new row needs and the relay does not write."""
    name = name_table(target)
    # It shows the schema that is served by default, and no other.
    description = (
        descriptions.get(target.table)
        if isinstance(descriptions, Mapping) and target.schema is None
        else None
    )
    if description is None or not description.columns:
        return unchecked(
            f"required:{target.table}",
            f"Whether {name} has columns that must be given could not be seen from here.",
            "A column that is NOT NULL without a default, and that the relay does not write,"
            " refuses every new row.",
            DEEPER,
        )
    return judge_required(target, description.required)


def judge_required(target: Target, required: Sequence[str]) -> Finding:
    """Judge the columns that are NOT NULL without a default."""
    check = f"required:{target.table}"
    missing = [column for column in required if column not in target.written_columns]
    if not missing:
        return fine(check, f"{name_table(target)} asks for no column that the relay leaves out.")
    return problem(
        check,
        f"{name_table(target)} must be given {', '.join(missing)}, which the relay does not write.",
        f"Every new {target.kind} would be refused and dead (23502). Instead of letting it be empty"
        f" you can have it written: {_SETTING[target.kind]} takes copy, constants and extra.",
        drop_not_null(target, missing),
    )


def no_unique_key(target: Target) -> Finding:
    """Report that an upsert has nothing to conflict on."""
    name, key = name_table(target), ", ".join(target.key_columns)
    return problem(
        f"unique:{target.table}",
        f"Nothing makes ({key}) of {name} unique.",
        "An upsert needs it to find the row (42P10): every write would be refused, and all would"
        " wait. Rows that share a key by now must be removed before.",
        make_unique(target),
    )


async def _look(relay: Inspection, target: Target, columns: Sequence[str]) -> RequestFailure | None:
    rows = await relay.read_rows(target, columns, limit=0)
    return rows if isinstance(rows, RequestFailure) else None


def _lacks_privilege(check: str, target: Target, verbs: str) -> Finding:
    return problem(
        check,
        f"The relay's key may not {verbs} on {name_table(target)}.",
        "service_role passes Row Level Security, but needs the privileges of the table all the"
        " same; everything would wait.",
        grant_to_relay(target),
    )


def _not_understood(check: str, name: str, failure: RequestFailure) -> Finding:
    return unchecked(
        check,
        f"{name} could not be looked at: {failure.code}, {failure.message}.",
        "Nothing can be said about it.",
        command("relay doctor"),
    )
