"""Check what Realtime publishes: tables without Row Level Security, and old rows."""

from collections.abc import Iterator, Sequence
from typing import Final

from app.doctor.catalog import Catalog, TableFacts
from app.doctor.database import Role
from app.doctor.findings import Finding, ok, problem, sql
from app.doctor.trip_tables import TripTable
from app.domain.entities import Kind
from app.supabase.targets import Targets

_DELETES: Final = (
    "Realtime applies no policy to a deleted row: with replica identity full, every subscriber of"
    " the table receives all its columns. The default sends the primary key alone. Deletes reach"
    " the right users by personal topics."
)
_OPEN: Final = "Realtime sends every change to every subscriber, members or not."


def evaluate_publication(
    catalog: Catalog, trip_tables: Sequence[TripTable], targets: Targets
) -> Iterator[Finding]:
    """Report published tables that leak rows; those that the relay writes have their own check."""
    written = [catalog.find_table(targets[kind]) for kind in Kind]
    of_trips = [trip_table.table for trip_table in trip_tables]
    findings = [
        finding
        for table in catalog.tables
        if table.is_published and table not in written
        # Whether a table of a trip has Row Level Security has its own check, too.
        for finding in _evaluate_table(table, is_checked=table in of_trips)
    ]
    what = "Published tables have Row Level Security, and send no old rows."
    yield from findings or [ok("publication", what)]


def _evaluate_table(table: TableFacts, *, is_checked: bool) -> Iterator[Finding]:
    is_readable = any("select" in table.privileges.get(role, ()) for role in Role)
    if not table.has_row_security and is_readable and not is_checked:
        yield problem(
            f"published:{table.name}",
            f"Realtime publishes {table.full_name}, which has no Row Level Security.",
            _OPEN,
            sql(f"alter publication supabase_realtime drop table {table.full_name};"),
        )
    if table.publishes_old_rows:
        yield problem(
            f"replica-identity:{table.name}",
            f"Realtime publishes {table.full_name} with replica identity full.",
            _DELETES,
            sql(f"alter table {table.full_name} replica identity default;"),
        )
