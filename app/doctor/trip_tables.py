"""Find the tables whose rows belong to a trip, by their own column or by the row they refer to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor.catalog import Catalog, ForeignKeyFacts, TableFacts
from app.doctor.fixes import is_member, name_target
from app.domain.entities import Kind
from app.supabase.identifiers import quote, quote_text
from app.supabase.targets import Target, Targets

# The usual names of columns that hold a user's id without a foreign key.
_USER_COLUMNS: Final = frozenset({
    "author_id", "created_by", "member_id", "owner_id", "profile_id", "sender_id", "user_id",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParentLink:
    """How the rows of a table refer to a row that belongs to a trip."""

    parent: "TripTable"
    column: str
    parent_column: str


@dataclass(frozen=True, slots=True)
class TripTable:
    """A table whose rows belong to a trip.

    Attributes:
        table: may be the table of the trips themselves.
        link: the column that holds the trip's id, or the reference to a row that has it.
        user_columns: hold the id of the user to whom a row belongs.
        is_trips: whether it is the table of the trips.
    """

    table: TableFacts
    link: str | ParentLink
    user_columns: Sequence[str] = ()
    is_trips: bool = False

    @property
    def link_column(self) -> str:
        """The column that decides to which trip a row belongs."""
        return self.link if isinstance(self.link, str) else self.link.column

    def write_condition(self, targets: Targets, name: str | None = None) -> str:
        """Write the condition that the caller is an ACTIVE member of the row's trip."""
        own = f"{quote(name or self.table.name)}.{quote(self.link_column)}"
        if isinstance(self.link, str):
            return is_member(targets, own)
        parent = f"parent_of_{self.table.name}"
        return (
            f"exists (select 1 from {self.link.parent.table.full_name} as {quote(parent)}"  # noqa: S608 - text
            f" where {quote(parent)}.{quote(self.link.parent_column)} = {own}"
            f" and {self.link.parent.write_condition(targets, parent)})"
        )

    def write_query(self, column: str, trip_id: str | None) -> str:
        """Write a query of a column or `*` of the rows of a trip, or of any trip."""
        query = f"select held.{column} from {self.table.full_name} as held"  # noqa: S608 - quoted
        if trip_id is None:
            return query
        own = f"held.{quote(self.link_column)}"
        if isinstance(self.link, str):
            return f"{query} where {own}::text = {quote_text(trip_id)}"
        parents = self.link.parent.write_query(quote(self.link.parent_column), trip_id)
        return f"{query} where {own} in ({parents})"


def find_trip_tables(catalog: Catalog, targets: Targets) -> list[TripTable]:
    """Find the tables with a column for the trip, then those that refer to them.

    The memberships are not among them: users may read their own of any status.
    """
    trips = catalog.find_table(targets.trips)
    others = [catalog.find_table(targets.users), catalog.find_table(targets.memberships)]
    found: dict[str, TripTable] = {}
    for table in catalog.tables:
        column = _find_trip_column(catalog, table, targets)
        if table == trips:
            found[table.full_name] = TripTable(table, targets.trips.columns["id"], is_trips=True)
        elif column is not None and table not in others:
            users = tuple(_find_user_columns(catalog, table, targets))
            found[table.full_name] = TripTable(table, column, users)
    left = [t for t in catalog.tables if t.full_name not in found and t not in others]
    while children := list(_find_children(catalog, left, found, targets)):
        found |= {child.table.full_name: child for child in children}
        left = [table for table in left if table.full_name not in found]
    return [found[name] for name in sorted(found)]


def _find_trip_column(catalog: Catalog, table: TableFacts, targets: Targets) -> str | None:
    names = ("trip_id", targets.memberships.columns["trip_id"])
    references = (key.columns[0] for key in _list_references(catalog, table, targets.trips))
    return next((name for name in (*names, *references) if name in table.columns), None)


def _find_user_columns(catalog: Catalog, table: TableFacts, targets: Targets) -> Iterator[str]:
    member = targets.memberships.columns["user_id"]
    references = {key.columns[0] for key in _list_references(catalog, table, targets.users)}
    for column in table.columns:
        if column in (_USER_COLUMNS | {member} | references):
            yield column


def _list_references(
    catalog: Catalog, table: TableFacts, target: Target
) -> Iterator[ForeignKeyFacts]:
    """List the one-column foreign keys to a target, or for users to those of Supabase Auth."""
    referenced = {name_target(target)}
    if target.kind is Kind.USER:
        referenced.add("auth.users")
    for key in _list_keys(catalog, table):
        if key.referenced_name in referenced:
            yield key


def _list_keys(catalog: Catalog, table: TableFacts) -> Iterator[ForeignKeyFacts]:
    for key in catalog.foreign_keys:
        if key.table_name == table.full_name and len(key.columns) == 1:
            yield key


def _find_children(
    catalog: Catalog, tables: Sequence[TableFacts], found: dict[str, TripTable], targets: Targets
) -> Iterator[TripTable]:
    for table in tables:
        for key in _list_keys(catalog, table):
            parent = found.get(key.referenced_name)
            if parent is not None:
                link = ParentLink(parent, key.columns[0], key.referenced_columns[0])
                yield TripTable(table, link, tuple(_find_user_columns(catalog, table, targets)))
                break
