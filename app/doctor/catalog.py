"""Read a project's catalog over a database connection, in one read-only transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from psycopg.rows import class_row, scalar_row

from app.doctor.database import open_connection
from app.supabase.identifiers import name_table
from app.supabase.targets import Target

_QUERIES: Final = Path(__file__).with_name("queries")


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table.

    Attributes:
        required: columns that are NOT NULL, without default, identity or generation.
        unique_keys: the columns of every unique index that an upsert can conflict on.
        enums: of each column of an enum type: the type's schema, name and labels.
        privileges: of anon and authenticated, on the table or any of its columns: select, insert,
            update, delete, truncate.
        updatable: of anon and authenticated: the columns that they may update.
        categories: of each column: the category of its type, as PostgreSQL's letter.
        is_published: whether Realtime publishes its changes.
        publishes_old_rows: whether its replica identity is full.
    """

    schema: str
    name: str
    has_row_security: bool
    columns: Sequence[str]
    required: Sequence[str]
    unique_keys: Sequence[Sequence[str]]
    enums: Mapping[str, tuple[str, str, Sequence[str]]]
    privileges: Mapping[str, Sequence[str]]
    updatable: Mapping[str, Sequence[str]]
    categories: Mapping[str, str]
    is_published: bool
    publishes_old_rows: bool

    @property
    def full_name(self) -> str:
        """The name, for SQL."""
        return name_table(self.schema, self.name)


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

    @property
    def full_table(self) -> str:
        """The name of the table, for SQL."""
        return name_table(self.schema, self.table)

    def applies(self, role: str, command: str) -> bool:
        """Tell whether PostgreSQL evaluates the policy when the role runs the command."""
        return self.command in (command, "all") and bool({role, "public"} & set(self.roles))


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """One function that belongs to no extension.

    Attributes:
        executors: those of public, anon, authenticated and service_role that may execute it.
    """

    schema: str
    name: str
    arguments: str
    executors: Sequence[str]
    definition: str


class OnDelete(StrEnum):
    """What a foreign key does to rows that refer to a deleted row, in PostgreSQL's letters."""

    NO_ACTION = "a"
    RESTRICT = "r"
    CASCADE = "c"
    SET_NULL = "n"
    SET_DEFAULT = "d"


@dataclass(frozen=True, slots=True)
class ForeignKeyFacts:
    """One enforced foreign key, of a table in any schema.

    Attributes:
        columns: the referring columns, in the order of `referenced_columns`.
        nulled_columns: the columns that `on delete set null` sets.
        indexes: of each leaf partition, or of the table itself: the columns of every complete
            index, in order; None for an expression.
        referenced_keys: the columns of every unique index of the referenced table.
    """

    schema: str
    table: str
    name: str
    is_partitioned: bool
    definition: str
    columns: Sequence[str]
    not_null_columns: Sequence[str]
    nulled_columns: Sequence[str]
    referenced_schema: str
    referenced_table: str
    referenced_columns: Sequence[str]
    on_delete: str
    indexes: Sequence[Sequence[Sequence[str | None]]]
    referenced_keys: Sequence[Sequence[str]]

    @property
    def table_name(self) -> str:
        """The referring table, for SQL."""
        return name_table(self.schema, self.table)

    @property
    def referenced_name(self) -> str:
        """The referenced table, for SQL."""
        return name_table(self.referenced_schema, self.referenced_table)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A project's catalog; `has_fence`: whether the table of the relay's functions exists."""

    tables: Sequence[TableFacts]
    policies: Sequence[PolicyFacts]
    functions: Sequence[FunctionFacts]
    foreign_keys: Sequence[ForeignKeyFacts]
    has_fence: bool

    def find_table(self, target: Target) -> TableFacts | None:
        """Find a target's table."""
        name = (target.schema or "public", target.table)
        return next((table for table in self.tables if (table.schema, table.name) == name), None)

    def list_policies(self, table: TableFacts) -> list[PolicyFacts]:
        """List the policies of a table."""
        name = (table.schema, table.name)
        return [policy for policy in self.policies if (policy.schema, policy.table) == name]


Facts = TypeVar("Facts")


def read_catalog(url: str, schemas: Sequence[str]) -> Catalog:
    """Read the tables and policies of these schemas, and every function and foreign key.

    Raises:
        DatabaseUnreadable: no connection, or no result in time.
    """
    with open_connection(url, read_only=True) as connection:

        def read(kind: type[Facts], query: str) -> list[Facts]:
            cursor = connection.cursor(row_factory=class_row(kind))
            statement = (_QUERIES / query).read_bytes()
            return cursor.execute(statement, {"schemas": list(schemas)}).fetchall()

        fence = connection.cursor(row_factory=scalar_row)
        return Catalog(
            read(TableFacts, "tables.sql"),
            read(PolicyFacts, "policies.sql"),
            read(FunctionFacts, "functions.sql"),
            read(ForeignKeyFacts, "foreign_keys.sql"),
            bool(fence.execute("select to_regclass('relay.fence') is not null").fetchone()),
        )
