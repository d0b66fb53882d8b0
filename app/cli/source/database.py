"""Reading a snapshot from the backend's database, without changing anything there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import IsolationLevel

from app.cli.source.outbox import Outbox
from app.cli.source.rows import RowCollector
from app.cli.source.snapshot import Snapshot
from app.domain.documents import read_json
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid, InputInvalid
from app.domain.event_reader import EventReader
from app.domain.instants import after, parse_timestamp
from app.store.database_errors import describe_failure

MARGIN_SECONDS: Final = 60
"""How far the snapshot's time lies before the database's clock.

A transaction that is open now may commit a change whose event has an earlier timestamp. The
snapshot does not show that change. A repair must lose to its event, however late it arrives.
"""

_CONNECT_SECONDS: Final = 10
_FETCHED_ROWS: Final = 2000
_READ_CLOCK: Final = """
select to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
"""
# PostgreSQL writes the JSON, so that every type of a column has a text.
_READ_ROWS: Final = "select row_to_json(source_row)::text from (\n%s\n) as source_row"


def read_database(
    url: str, queries: Mapping[Kind, str], snapshot: Snapshot, reader: EventReader
) -> Outbox:
    """Read a database into a snapshot, in one read-only transaction.

    Returns:
        The outbox at the time of the snapshot.

    Raises:
        ConfigurationInvalid: it cannot be read.
        Rejected: a row is invalid, or is there twice.
    """
    rows = RowCollector(snapshot, reader)
    with open_source(url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        now = parse_timestamp(_fetch_text(connection, _READ_CLOCK))
        snapshot.at = after(now, -MARGIN_SECONDS)
        outbox = Outbox.find(connection)
        for kind, query in queries.items():
            for number, document in enumerate(_read_documents(connection, query), start=1):
                _add_document(rows, kind, f"{kind}s, row {number}", document)
    rows.raise_errors("the source")
    return outbox


@contextmanager
def open_source(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to the backend's database.

    Raises:
        ConfigurationInvalid: it cannot be reached, or a statement fails in the block.
    """
    try:
        with psycopg.connect(
            url,
            connect_timeout=_CONNECT_SECONDS,
            application_name="relay reconcile",
            # A pooler may not keep prepared statements.
            prepare_threshold=None,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        reason = describe_failure(error, with_connection=True)
        raise ConfigurationInvalid(f"--source-db-url cannot be read: {reason}") from error


def _fetch_text(connection: psycopg.Connection[Any], query: str) -> str:
    (text,) = connection.execute(query.encode()).fetchone() or ("",)
    return str(text)


def _read_documents(connection: psycopg.Connection[Any], query: str) -> Iterator[str]:
    with connection.cursor("source_rows") as cursor:
        cursor.itersize = _FETCHED_ROWS
        cursor.execute((_READ_ROWS % query).encode())
        for (document,) in cursor:
            yield document


def _add_document(rows: RowCollector, kind: Kind, place: str, document: str) -> None:
    try:
        sent = read_json(document.encode())
    except InputInvalid as error:
        rows.report(place, error.errors)
        return
    rows.add(place, kind, sent)
