"""The SQL that puts a table right, as text: nothing here runs it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from app.doctor.findings import Fix, sql
from app.domain.entities import Kind
from app.supabase.targets import Target, Targets

# Hosted projects do so by themselves; elsewhere PostgREST would go on with the old tables.
RELOAD: Final = "notify pgrst, 'reload schema';"
# Of PostgreSQL 18, what names a table or column only in quotes.
RESERVED: Final = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
    "authorization", "binary", "both", "case", "cast", "check", "collate", "collation", "column",
    "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
    "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
    "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch",
    "for", "foreign", "freeze", "from", "full", "grant", "group", "having", "ilike", "in",
    "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading",
    "left", "like", "limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null",
    "offset", "on", "only", "or", "order", "outer", "overlaps", "placing", "primary",
    "references", "returning", "right", "select", "session_user", "similar", "some", "symmetric",
    "system_user", "table", "tablesample", "then", "to", "trailing", "true", "union", "unique",
    "user", "using", "variadic", "verbose", "when", "where", "window", "with",
})  # fmt: skip
_UUID_FIELDS: Final = ("id", "trip_id", "user_id", "created_by")


def quote(name: str) -> str:
    """Write an identifier for SQL."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name, re.ASCII) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def name_table(target: Target) -> str:
    """Write a table's name for SQL."""
    return f"{quote(target.schema or 'public')}.{quote(target.table)}"


def create_table(target: Target) -> Fix:
    """Make a table that is not there, closed to everybody but the relay."""
    name = name_table(target)
    columns = [
        f"  {quote(column)} {_choose_type(target, column)}"
        f"{' not null' if column in target.columns.values() else ''},"
        for column in target.written_columns
    ]
    return sql(
        f"create table {name} (",
        *columns,
        f"  primary key ({list_names(target.key_columns)})",
        ");",
        f"alter table {name} enable row level security;",
        f"revoke all on {name} from anon, authenticated;",
        f"grant select, insert, update, delete on {name} to service_role;",
        RELOAD,
    )


def add_columns(target: Target, columns: Sequence[str]) -> Fix:
    """Add columns that the relay writes."""
    return sql(
        *(
            f"alter table {name_table(target)} add column {quote(column)}"
            f" {_choose_type(target, column)};"
            for column in columns
        ),
        RELOAD,
    )


def make_unique(target: Target) -> Fix:
    """Give the conflict target the index that an upsert needs."""
    columns = target.key_columns
    index = quote(f"{target.table}_{'_'.join(columns)}_key"[:63])
    return sql(
        f"create unique index {index} on {name_table(target)} ({list_names(columns)});",
        RELOAD,
    )


def drop_not_null(target: Target, columns: Sequence[str]) -> Fix:
    """Let columns be empty that the relay does not write."""
    return sql(
        *(
            f"alter table {name_table(target)} alter column {quote(column)} drop not null;"
            for column in columns
        ),
        RELOAD,
    )


def grant_to_relay(target: Target) -> Fix:
    """Give the relay's role the privileges it needs."""
    return sql(
        f"grant usage on schema {quote(target.schema or 'public')} to service_role;",
        f"grant select, insert, update, delete on {name_table(target)} to service_role;",
    )


def close_table(target: Target, targets: Targets) -> Fix:
    """Take every write from apps, and leave users to read what is their own."""
    name = name_table(target)
    return sql(
        f"alter table {name} enable row level security;",
        f"revoke all on {name} from public, anon, authenticated;",
        f"grant select on {name} to authenticated;",
        *_drop_open_policies(target),
        f'drop policy if exists "relay: own rows are readable" on {name};',
        f'create policy "relay: own rows are readable" on {name} for select to authenticated',
        f"  using ({own_rows(target, targets)});",
    )


def narrow_policies(target: Target, targets: Targets, expressions: Mapping[str, str | None]) -> Fix:
    """Let policies, by name with what they ask now, show each user his own rows and no others."""
    name, own = name_table(target), own_rows(target, targets)
    return sql(
        *(
            f"alter policy {quote(policy)} on {name}\n  using (({asked or 'true'}) and {own});"
            for policy, asked in expressions.items()
        )
    )


def _drop_open_policies(target: Target) -> tuple[str, ...]:
    """Drop the policies that ask nothing, whatever they are called."""
    schema, table = (
        "'" + part.replace("'", "''") + "'" for part in (target.schema or "public", target.table)
    )
    return (
        "do $$ declare open record; begin",
        "  for open in select policyname from pg_policies",
        f"    where schemaname = {schema} and tablename = {table}",
        "      and permissive = 'PERMISSIVE' and 'true' in (qual, with_check)",
        f"  loop execute format('drop policy %I on {name_table(target)}', open.policyname);",
        "  end loop;",
        "end $$;",
    )


def revoke_writes(target: Target) -> Fix:
    """Take the privilege to write from apps; what they may read stays."""
    return sql(
        f"revoke insert, update, delete, truncate on {name_table(target)}"
        " from public, anon, authenticated;",
        # A privilege on a column survives what is taken from the table.
        f"revoke insert ({list_names(target.columns.values())}),"
        f" update ({list_names(target.columns.values())})"
        f" on {name_table(target)} from public, anon, authenticated;",
    )


def revoke_reads(target: Target, role: str) -> Fix:
    """Take the privilege to read from a role."""
    return sql(f"revoke select on {name_table(target)} from public, {role};")  # noqa: S608 - text


def own_rows(target: Target, targets: Targets) -> str:
    """Write the condition that a row is the caller's own."""
    match target.kind:
        case Kind.USER:
            return f"{quote(target.columns['id'])} = (select auth.uid())"
        case Kind.MEMBERSHIP:
            return f"{quote(target.columns['user_id'])} = (select auth.uid())"
        case Kind.TRIP:
            own = quote(target.columns["id"])
            return f"{is_member(targets, f'{quote(target.table)}.{own}')}"


def is_member(targets: Targets, trip_id: str) -> str:
    """Write the condition that the caller is an ACTIVE member of a trip."""
    memberships = targets.memberships
    column = {field: quote(name) for field, name in memberships.columns.items()}
    return (
        f"exists (select 1 from {name_table(memberships)} as membership"  # noqa: S608 - text
        f" where membership.{column['trip_id']} = {trip_id}"
        f" and membership.{column['user_id']} = (select auth.uid())"
        f" and membership.{column['status']} = 'ACTIVE')"
    )


def _choose_type(target: Target, column: str) -> str:
    field = target.fields.get(column)
    return "uuid" if field in _UUID_FIELDS else "text"


def list_names(names: Iterable[str]) -> str:
    """Write identifiers for SQL, separated by commas."""
    return ", ".join(quote(name) for name in names)
