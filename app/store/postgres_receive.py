"""Receiving into PostgreSQL: one function call, one round trip and one commit for a group.

The function is `relay_receive` in migrations/receive.sql. Through the code that SQLite runs, each
group would hold its locks for six round trips, and a relay received a third less.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import psycopg

from app.store.receive import Arrival, Receipt
from app.store.write_session import WriteSession

FUNCTION_FILE: Final = Path(__file__).parent / "migrations" / "receive.sql"

_RECEIPTS: Final = (Receipt.ACCEPTED, Receipt.DUPLICATE, Receipt.CONFLICT)
_CALL: Final = """
SELECT relay_receive(
    %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::boolean[], %s::bigint[], %s::bytea[], %s::text[], %s::text[])
"""
_ATTRIBUTES: Final = (
    *("event_id", "type", "kind", "key", "trip_id", "user_id", "occurred_at", "is_removal"),
    *("received_at", "digest", "row", "data"),
)


def call_receive(session: WriteSession, arrivals: Sequence[Arrival]) -> list[list[Receipt]]:
    """Store the events of each arrival, in order, commit, and return their receipts."""
    events = [(event, arrival.received_at) for arrival in arrivals for event in arrival.events]
    columns: list[list[Any]] = [
        [received_at for _, received_at in events]
        if name == "received_at"
        else [getattr(event, name) for event, _ in events]
        for name in _ATTRIBUTES
    ]
    driver = cast("psycopg.Connection[Any]", session.connection.connection.driver_connection)
    row = driver.execute(_CALL, columns).fetchone()
    numbers = iter(row[0] if row is not None else ())
    return [
        [_RECEIPTS[number] for number in islice(numbers, len(arrival.events))]
        for arrival in arrivals
    ]
