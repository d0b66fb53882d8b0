"""Reading a project's catalog over a database connection, in one read-only transaction."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from app.doctor.inspection.foreign_keys import ForeignKeyFacts, read_foreign_keys

_CONNECT_SECONDS: Final = 10
# No search_path: names in expressions come out with their schema.
_SETTINGS: Final = "set local search_path = ''; set local statement_timeout = '15s'"

_TABLES: Final = """
select class.relname as name,
  namespace.nspname as schema,
  class.relrowsecurity as has_row_security,
  array(
    select attname::text from pg_catalog.pg_attribute
    where attrelid = class.oid and attnum > 0 and not attisdropped order by attnum
  ) as columns,
  array(
    select attname::text from pg_catalog.pg_attribute
    where attrelid = class.oid and attnum > 0 and not attisdropped
      and attnotnull and not atthasdef and attidentity = ''
    order by attnum
  ) as required,
  array(
    select array(
        select attname::text from pg_catalog.pg_attribute
        where attrelid = class.oid and attnum = any (index.indkey[0:index.indnkeyatts - 1])
      )::text
    from pg_catalog.pg_index as index
    where indrelid = class.oid and indisunique and indisvalid and indimmediate
      and indpred is null and indexprs is null
  ) as unique_keys,
  (
    select coalesce(json_object_agg(attribute.attname, json_build_array(
      type_namespace.nspname, type.typname,
      (select json_agg(enumlabel order by enumsortorder) from pg_catalog.pg_enum
       where enumtypid = type.oid))), '{}')
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_type as type on type.oid = attribute.atttypid and type.typtype = 'e'
    join pg_catalog.pg_namespace as type_namespace on type_namespace.oid = type.typnamespace
    where attrelid = class.oid and attnum > 0 and not attisdropped
  ) as enums,
  (
    select coalesce(json_object_agg(role, verbs), '{}')
    from (
      select rolname as role, array_remove(array[
        case when pg_catalog.has_any_column_privilege(pg_roles.oid, class.oid, 'select')
          then 'select' end,
        case when pg_catalog.has_any_column_privilege(pg_roles.oid, class.oid, 'insert')
          then 'insert' end,
        case when pg_catalog.has_any_column_privilege(pg_roles.oid, class.oid, 'update')
          then 'update' end,
        case when pg_catalog.has_table_privilege(pg_roles.oid, class.oid, 'delete')
          then 'delete' end
      ], null) as verbs
      from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role')
    ) as held
  ) as privileges,
  exists (
    select from pg_catalog.pg_publication_tables as published
    where pubname = 'supabase_realtime' and published.schemaname = namespace.nspname
      and published.tablename = class.relname
  ) as is_published
from pg_catalog.pg_class as class
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
where class.relkind in ('r', 'p') and namespace.nspname = any (%(schemas)s)
order by 1
"""
_POLICIES: Final = """
select policyname as name, schemaname as schema, tablename as table,
  permissive = 'PERMISSIVE' as is_permissive, roles::text[] as roles, lower(cmd) as command,
  qual as using, with_check
from pg_catalog.pg_policies where schemaname = any (%(schemas)s)
order by 2, 3, 1
"""
_FUNCTIONS: Final = """
select namespace.nspname as schema, proname as name,
  pg_catalog.pg_get_function_identity_arguments(proc.oid) as arguments,
  prosecdef as is_definer,
  coalesce(proconfig::text like '%%search_path=%%', false) as has_search_path,
  array(
    select 'public'
    from pg_catalog.aclexplode(coalesce(proacl, pg_catalog.acldefault('f', proowner)))
    where grantee = 0 and privilege_type = 'EXECUTE'
    union all
    (
      select rolname::text from pg_catalog.pg_roles
      where rolname in ('anon', 'authenticated', 'service_role')
        and pg_catalog.has_function_privilege(pg_roles.oid, proc.oid, 'execute')
      order by rolname
    )
  ) as executors,
  pg_catalog.pg_get_functiondef(proc.oid) as definition
from pg_catalog.pg_proc as proc
join pg_catalog.pg_namespace as namespace on namespace.oid = pronamespace
where prokind = 'f'
  and nspname not in ('pg_catalog', 'information_schema', 'extensions', 'auth', 'storage')
  and not exists (
    select from pg_catalog.pg_depend
    where objid = proc.oid and classid = 'pg_catalog.pg_proc'::regclass and deptype = 'e'
  )
order by 1, 2, 3
"""


_FENCE: Final = """
select exists (
  select from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
  where nspname = 'relay' and relname = 'fence' and relkind = 'r'
) as has_fence
"""


class CatalogUnreadable(Exception):
    """The database could not be asked; the text holds no secret."""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table.

    Attributes:
        required: columns that are NOT NULL, without default, identity or generation.
        unique_keys: the columns of every unique index that an upsert can conflict on.
        enums: of each column of an enum type: its schema, its name, its labels.
        privileges: role → what it holds on the table or any of its columns, of select, insert,
            update, delete.
        is_published: whether Realtime sends its changes.
    """

    schema: str
    name: str
    has_row_security: bool
    columns: Sequence[str]
    required: Sequence[str]
    unique_keys: Sequence[frozenset[str]]
    enums: Mapping[str, tuple[str, str, Sequence[str]]]
    privileges: Mapping[str, Sequence[str]]
    is_published: bool


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """One policy; `command` is select, insert, update, delete or all."""

    schema: str
    table: str
    name: str
    is_permissive: bool
    roles: Sequence[str]
    command: str
    using: str | None
    with_check: str | None

    def applies(self, role: str, command: str) -> bool:
        """Tell whether it is asked when a role does this."""
        return self.command in (command, "all") and bool({role, "public"} & set(self.roles))


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """One function of the project's own.

    Attributes:
        executors: those of public, anon, authenticated and service_role that may execute it.
    """

    schema: str
    name: str
    arguments: str
    is_definer: bool
    has_search_path: bool
    executors: Sequence[str]
    definition: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a project's database says of itself.

    Attributes:
        has_fence: whether the table of the relay's functions is there.
    """

    tables: Sequence[TableFacts]
    policies: Sequence[PolicyFacts]
    functions: Sequence[FunctionFacts]
    foreign_keys: Sequence[ForeignKeyFacts]
    has_fence: bool


def read_catalog(url: str, schemas: Sequence[str]) -> Catalog:
    """Read the tables and policies of these schemas, and every function and foreign key.

    Raises:
        CatalogUnreadable: no connection, or no answer in time.
    """
    try:
        # No prepared statements: the pooler of hosted projects may not keep them.
        connection = psycopg.connect(
            url,
            connect_timeout=_CONNECT_SECONDS,
            application_name="relay doctor",
            prepare_threshold=None,
        )
        with closing(connection), connection.cursor(row_factory=dict_row) as cursor:
            connection.read_only = True
            cursor.execute(_SETTINGS)
            arguments = {"schemas": list(schemas)}
            tables = cursor.execute(_TABLES, arguments).fetchall()
            policies = cursor.execute(_POLICIES, arguments).fetchall()
            functions = cursor.execute(_FUNCTIONS, {}).fetchall()
            foreign_keys = read_foreign_keys(cursor)
            (fence,) = cursor.execute(_FENCE).fetchall()
            connection.rollback()
    except psycopg.OperationalError as error:
        raise CatalogUnreadable(str(error).strip().partition("\n")[0]) from error
    except psycopg.Error as error:
        # What it says may quote the URL, and with it the password.
        raise CatalogUnreadable(error.sqlstate or "the URL cannot be read") from error
    return Catalog(
        [_make_table(row) for row in tables],
        [PolicyFacts(**row) for row in policies],
        [FunctionFacts(**row) for row in functions],
        foreign_keys,
        has_fence=fence["has_fence"],
    )


def _make_table(row: dict[str, Any]) -> TableFacts:
    keys = [frozenset(_read_array(key)) for key in row.pop("unique_keys")]
    enums = {column: tuple(parts) for column, parts in row.pop("enums").items()}
    return TableFacts(**row, unique_keys=keys, enums=enums)


def _read_array(text: str) -> list[str]:
    """Read an array of names as PostgreSQL writes it: arrays of arrays have to be rectangular."""
    return [name.strip('"').replace('\\"', '"') for name in text.strip("{}").split(",")]
