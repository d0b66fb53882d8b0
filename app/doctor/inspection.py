"""Inspect a project's database: read its catalog, and try its policies."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.doctor.catalog import Catalog, read_catalog
from app.doctor.database import open_transaction
from app.doctor.policy_trials import Trials, try_policies
from app.doctor.trip_tables import TripTable, find_trip_tables
from app.domain.entities import Kind
from app.supabase.targets import Targets


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the database shows; nothing in it was changed."""

    catalog: Catalog
    trip_tables: Sequence[TripTable]
    trials: Trials


def inspect_database(url: str, targets: Targets) -> Inspection:
    """Inspect the schema public and those of the targets.

    Raises:
        DatabaseUnreadable: no connection, or no result in time.
    """
    schemas = {"public", *(targets[kind].schema or "public" for kind in Kind)}
    catalog = read_catalog(url, sorted(schemas))
    tables = find_trip_tables(catalog, targets)
    with open_transaction(url, read_only=True) as transaction:
        trials = try_policies(transaction, catalog, tables, targets)
    return Inspection(catalog, tables, trials)
