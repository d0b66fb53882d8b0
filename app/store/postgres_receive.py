"""Receiving into PostgreSQL: one function call, one round trip and one commit for a group.

The function is `relay_receive` in migrations/receive.sql. Through the code that SQLite runs, each
group would hold its locks for six round trips, and a relay received a third less.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import psycopg
from sqlalchemy import Connection

from app.domain.events import Event
from app.store.receive import Arrival, Receipt

FUNCTION_FILE: Final = Path(__file__).parent / "migrations" / "receive.sql"

_RECEIPTS: Final = (Receipt.ACCEPTED, Receipt.DUPLICATE, Receipt.CONFLICT)
_CALL: Final = """
SELECT relay_receive(
    %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::boolean[], %s::text[], %s::text[], %s::bytea[], %s::bigint[],
    %s::text[])
"""


def call_receive(connection: Connection, arrivals: Sequence[Arrival]) -> list[list[Receipt]]:
    """Store the events of each arrival, in order, commit, and return their receipts."""
    events = [event for arrival in arrivals for event in arrival.events]
    columns: list[list[Any]] = [[event[n] for event in events] for n in range(len(Event._fields))]
    columns.append([arrival.received_at for arrival in arrivals for _ in arrival.events])
    columns.append([arrival.trace for arrival in arrivals for _ in arrival.events])
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    row = driver.execute(_CALL, columns).fetchone()
    numbers = iter(row[0] if row is not None else ())
    return [
        [_RECEIPTS[number] for number in islice(numbers, len(arrival.events))]
        for arrival in arrivals
    ]
