"""Inspect a project's database: read its catalog, and try its policies."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.doctor.catalog import Catalog, read_catalog
from app.doctor.database import open_transaction
from app.doctor.policy_trials import Trials, try_policies
from app.doctor.raising_policies import RaisingPolicy, find_raising
from app.doctor.realtime import SCHEMA
from app.doctor.topic_trials import TopicTrials, try_topics
from app.doctor.trip_tables import TripTable, find_trip_tables
from app.domain.entities import Kind
from app.supabase.targets import Targets


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the database shows; nothing in it was changed."""

    catalog: Catalog
    trip_tables: Sequence[TripTable]
    trials: Trials
    raising: Sequence[RaisingPolicy]
    topics: TopicTrials


def inspect_database(url: str, targets: Targets) -> Inspection:
    """Inspect the schemas public and realtime, and those of the targets.

    Raises:
        DatabaseUnreadable: no connection, or no result in time.
    """
    schemas = {"public", SCHEMA, *(targets[kind].schema or "public" for kind in Kind)}
    catalog = read_catalog(url, sorted(schemas))
    tables = find_trip_tables(catalog, targets)
    with open_transaction(url, read_only=True) as transaction:
        trials = try_policies(transaction, catalog, tables, targets)
        raising = find_raising(transaction, catalog)
    # Realtime's question needs rows, which are rolled back.
    with open_transaction(url, read_only=False) as transaction:
        topics = try_topics(transaction, catalog, targets)
    return Inspection(catalog, tables, trials, raising, topics)
