"""The SQL of fixes, as text: nothing here runs it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from app.doctor.findings import Fix, sql
from app.domain.entities import Kind
from app.supabase.identifiers import list_names, name_table, quote, quote_text
from app.supabase.targets import Target, Targets

# Hosted projects reload by themselves; elsewhere PostgREST would keep the old schema.
RELOAD: Final = "notify pgrst, 'reload schema';"
SAFE_USER_ID: Final = (
    "(case when auth.jwt() ->> 'sub' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
    " then (auth.jwt() ->> 'sub')::uuid end)"
)
"""auth.uid(), but null for a sub that is no UUID."""
_UUID_FIELDS: Final = ("id", "trip_id", "user_id", "created_by")


def list_words(words: Iterable[str]) -> str:
    """Write words for a sentence."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def name_target(target: Target) -> str:
    """Write the name of a target's table."""
    return name_table(target.schema or "public", target.table)


def create_table(target: Target) -> Fix:
    """Create a missing table, closed to everyone but the relay."""
    name = name_target(target)
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
    """Add missing columns."""
    name = name_target(target)
    return sql(
        *(f"alter table {name} add column {quote(c)} {_choose_type(target, c)};" for c in columns),
        RELOAD,
    )


def make_unique(target: Target) -> Fix:
    """Create the unique index that an upsert needs."""
    columns = target.key_columns
    index = quote(f"{target.table}_{'_'.join(columns)}_key"[:63])
    return sql(
        f"create unique index {index} on {name_target(target)} ({list_names(columns)});",
        RELOAD,
    )


def drop_not_null(target: Target, columns: Sequence[str]) -> Fix:
    """Make columns nullable."""
    name = name_target(target)
    return sql(
        *(f"alter table {name} alter column {quote(c)} drop not null;" for c in columns), RELOAD
    )


def grant_to_relay(target: Target) -> Fix:
    """Grant the relay's role the privileges that it needs."""
    return sql(
        f"grant usage on schema {quote(target.schema or 'public')} to service_role;",
        f"grant select, insert, update, delete on {name_target(target)} to service_role;",
    )


def add_enum_values(enum: str, values: Sequence[str]) -> Fix:
    """Add missing values to an enum."""
    return sql(*(f"alter type {enum} add value if not exists {quote_text(v)};" for v in values))


def alter_policies(table: str, expressions: Mapping[str, Mapping[str, str]]) -> Fix:
    """Replace expressions of policies: by policy, then by clause, `using` or `with check`."""
    return sql(
        *(
            "\n".join(
                [
                    f"alter policy {quote(name)} on {table}",
                    *(f"  {clause} ({expression})" for clause, expression in clauses.items()),
                ]
            )
            + ";"
            for name, clauses in expressions.items()
        )
    )


def enable_row_security(table: str, condition: str) -> Fix:
    """Turn Row Level Security on, and let users read the rows that meet a condition."""
    return sql(
        f"alter table {table} enable row level security;",
        f'create policy "relay: members read" on {table} for select to authenticated',
        f"  using ({condition});",
    )


def revoke_reads(target: Target, role: str) -> Fix:
    """Revoke the privilege to read from a role."""
    return sql(f"revoke select on {name_target(target)} from public, {role};")  # noqa: S608 - text


def revoke(table: str, roles: Mapping[tuple[str, ...], Sequence[str]]) -> Fix:
    """Revoke privileges from the roles that have them, and from public, which all belong to."""
    return sql(
        *(
            f"revoke {', '.join(verbs)} on {table} from public, {', '.join(names)};"
            for verbs, names in roles.items()
        )
    )


def close_table(target: Target, targets: Targets) -> Fix:
    """Revoke every write from apps, drop open policies, and let users read their own rows."""
    name = name_target(target)
    schema, table = quote_text(target.schema or "public"), quote_text(target.table)
    return sql(
        f"alter table {name} enable row level security;",
        f"revoke all on {name} from public, anon, authenticated;",
        f"grant select on {name} to authenticated;",
        "do $$ declare open record; begin",
        "  for open in select policyname from pg_policies",
        f"    where schemaname = {schema} and tablename = {table}",
        "      and permissive = 'PERMISSIVE' and 'true' in (qual, with_check)",
        f"  loop execute format('drop policy %I on {name}', open.policyname);",
        "  end loop;",
        "end $$;",
        f'drop policy if exists "relay: own rows are readable" on {name};',
        f'create policy "relay: own rows are readable" on {name} for select to authenticated',
        f"  using ({own_rows(target, targets)});",
    )


def revoke_writes(target: Target) -> Fix:
    """Revoke the privileges to write from apps, and leave those to read."""
    # PostgreSQL revokes the privileges on the table's columns too.
    return sql(
        f"revoke insert, update, delete, truncate on {name_target(target)}"
        " from public, anon, authenticated;"
    )


def own_rows(target: Target, targets: Targets) -> str:
    """Write the condition that a row is the caller's own."""
    match target.kind:
        case Kind.USER:
            return f"{quote(target.columns['id'])} = (select auth.uid())"
        case Kind.MEMBERSHIP:
            return f"{quote(target.columns['user_id'])} = (select auth.uid())"
        case Kind.TRIP:
            return is_member(targets, f"{quote(target.table)}.{quote(target.columns['id'])}")


def is_member(targets: Targets, trip_id: str) -> str:
    """Write the condition that the caller is an ACTIVE member of a trip."""
    trip = quote(targets.memberships.columns["trip_id"])
    return _has_membership(targets, f"membership.{trip} = {trip_id}")


def is_member_of_topic(targets: Targets) -> str:
    """Write the condition that the caller is an ACTIVE member of the trip that ends the topic."""
    trip = quote(targets.memberships.columns["trip_id"])
    return _has_membership(targets, f"membership.{trip}::text = right(realtime.topic(), 36)")


def _has_membership(targets: Targets, is_of_trip: str) -> str:
    """Write the condition that the caller has an ACTIVE membership that meets another one.

    It compares texts: auth.uid() raises for a sub that is no UUID.
    """
    memberships = targets.memberships
    column = {field: quote(name) for field, name in memberships.columns.items()}
    return (
        f"exists (select 1 from {name_target(memberships)} as membership"  # noqa: S608 - text
        f" where {is_of_trip}"
        f" and membership.{column['user_id']}::text = (select auth.jwt() ->> 'sub')"
        f" and membership.{column['status']} = 'ACTIVE')"
    )


def limit_topic(targets: Targets) -> str:
    """Write the condition that limits topics of trips to members, and of users to themselves."""
    return (
        f"(realtime.topic() not like 'trip%' or {is_member_of_topic(targets)})\n"
        "    and (realtime.topic() not like 'user:%'"
        " or realtime.topic() = 'user:' || (select auth.jwt() ->> 'sub'))"
    )


def _choose_type(target: Target, column: str) -> str:
    return "uuid" if target.fields.get(column) in _UUID_FIELDS else "text"
