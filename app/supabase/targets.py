"""Where each kind of entity lives in Supabase, and how a row of ours becomes a row there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, assert_never

from app.domain.contract import ROW_FIELDS
from app.domain.entities import Kind

KEY_FIELDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.USER: ("id",),
    Kind.TRIP: ("id",),
    Kind.MEMBERSHIP: ("trip_id", "user_id"),
}


class Inactive(StrEnum):
    """What becomes of the row of a membership whose status is not ACTIVE."""

    KEEP = "keep"
    """It stays and carries its status: for policies that test it."""
    REMOVE = "remove"
    """It goes: for policies that take any row for access."""


@dataclass(frozen=True, slots=True)
class Target:
    """One table. No column has two sources.

    Attributes:
        kind: what lives there.
        table: its name, without the schema.
        columns: every field of the contract, in its order, and the column that it goes to.
        schema: where the table is; None for the one that PostgREST serves by default.
        copy: further columns, and the field of the contract that each repeats.
        constants: further columns, and the JSON value that each is always written with.
        extra: fields beside the contract that `data` may carry, in the order of the configuration,
            and the column of each. A row that lacks one leaves its column as it is.
        inactive: what to do with a membership that gives no access; of no meaning elsewhere.
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
        """The table with its schema; the two are separated by the first dot."""
        return f"{self.schema or 'public'}.{self.table}"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """What names a row: an upsert conflicts on them, so together they must be unique."""
        return tuple(self.columns[name] for name in KEY_FIELDS[self.kind])

    @property
    def written_columns(self) -> tuple[str, ...]:
        """Every column that the relay may write, in the order of a whole row."""
        return self.list_columns(tuple(self.extra))

    def list_columns(self, extra: Sequence[str]) -> tuple[str, ...]:
        """Give the columns of a row that has these fields beside the contract, in order."""
        named = (self.extra[name] for name in extra)
        return (*self.columns.values(), *self.copy, *self.constants, *named)

    @property
    def fields(self) -> Mapping[str, str]:
        """Every column that is written from a field, and the field: from theirs back to ours."""
        return {
            **{column: name for name, column in self.extra.items()},
            **self.copy,
            **{column: name for name, column in self.columns.items()},
        }


def make_target(kind: Kind) -> Target:
    """Give the minimal table of a kind, named and made as in `supabase/migrations`."""
    match kind:
        case Kind.USER:
            table = "users"
        case Kind.TRIP:
            table = "trips"
        case Kind.MEMBERSHIP:
            table = "trip_memberships"
        case _:
            assert_never(kind)
    return Target(kind, table, {name: name for name in ROW_FIELDS[kind]})


@dataclass(frozen=True, slots=True)
class Targets:
    """The three tables of one deployment: `targets[Kind.USER]`."""

    users: Target = field(default_factory=lambda: make_target(Kind.USER))
    trips: Target = field(default_factory=lambda: make_target(Kind.TRIP))
    memberships: Target = field(default_factory=lambda: make_target(Kind.MEMBERSHIP))

    def __getitem__(self, kind: Kind) -> Target:
        match kind:
            case Kind.USER:
                return self.users
            case Kind.TRIP:
                return self.trips
            case Kind.MEMBERSHIP:
                return self.memberships
            case _:
                assert_never(kind)

    @property
    def extra(self) -> Mapping[Kind, tuple[str, ...]]:
        """The fields beside the contract to let through, of the kinds that have any."""
        return {kind: tuple(self[kind].extra) for kind in Kind if self[kind].extra}


MINIMAL_TARGETS: Final = Targets()
"""The tables of `supabase/migrations`: what stands where nothing is configured."""
