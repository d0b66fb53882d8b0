"""Targets: the table, key and columns of each kind of entity in Supabase."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from app.domain.contract import ROW_FIELDS
from app.domain.entities import Kind

KEY_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.USER: ("id",),
    Kind.TRIP: ("id",),
    Kind.MEMBERSHIP: ("trip_id", "user_id"),
}

_TABLES: Final[Mapping[Kind, str]] = {
    Kind.USER: "users",
    Kind.TRIP: "trips",
    Kind.MEMBERSHIP: "trip_memberships",
}


class Inactive(StrEnum):
    """What to do with the row of a membership whose status is not ACTIVE."""

    KEEP = "keep"
    """Keep the row with its status, for policies that test it."""
    REMOVE = "remove"
    """Delete the row, for policies that take any row for access."""


@dataclass(frozen=True, slots=True)
class Target:
    """The table of one kind of entity. No column has two sources.

    Attributes:
        table: without the schema.
        columns: the column of each field of the contract.
        schema: None for the schema that PostgREST serves by default.
        copy: for further columns, the field of the contract that each repeats.
        constants: for further columns, the JSON value that each always has.
        extra: the column of each extra field. A row without the field leaves the column unchanged.
        inactive: for memberships only.
    """

    kind: Kind
    table: str
    columns: Mapping[str, str]
    schema: str | None = None
    copy: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    inactive: Inactive = Inactive.KEEP

    @property
    def qualified_name(self) -> str:
        """The schema and the table, separated by the first dot."""
        return f"{self.schema or 'public'}.{self.table}"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that identify a row; an upsert needs a unique constraint on them."""
        return tuple(self.columns[name] for name in KEY_FIELDS[self.kind])

    @property
    def written_columns(self) -> tuple[str, ...]:
        """Every column that the relay may write, in the order of a row."""
        return (*self.columns.values(), *self.copy, *self.constants, *self.extra.values())

    @property
    def fields(self) -> Mapping[str, str]:
        """The field that each column is written from."""
        return {
            **{column: name for name, column in self.extra.items()},
            **self.copy,
            **{column: name for name, column in self.columns.items()},
        }


def make_target(kind: Kind) -> Target:
    """Make the target of the table in `supabase/migrations`."""
    return Target(kind, _TABLES[kind], {name: name for name in ROW_FIELDS[kind]})


@dataclass(frozen=True, slots=True)
class Targets:
    """The three tables of one deployment: `targets[Kind.USER]`."""

    users: Target = field(default_factory=lambda: make_target(Kind.USER))
    trips: Target = field(default_factory=lambda: make_target(Kind.TRIP))
    memberships: Target = field(default_factory=lambda: make_target(Kind.MEMBERSHIP))

    def __getitem__(self, kind: Kind) -> Target:
        targets = {
            Kind.USER: self.users,
            Kind.TRIP: self.trips,
            Kind.MEMBERSHIP: self.memberships,
        }
        return targets[kind]

    @property
    def extra(self) -> Mapping[Kind, tuple[str, ...]]:
        """The extra fields of each kind that has any."""
        return {kind: tuple(self[kind].extra) for kind in Kind if self[kind].extra}


MINIMAL_TARGETS: Final = Targets()
"""The tables of `supabase/migrations`: the default."""
