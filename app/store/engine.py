"""SQLAlchemy engines for both databases: every connection commits durably, every wait is bounded.

Execution options of a transaction: `is_exclusive` (no other such transaction runs beside it); for
PostgreSQL `statement_seconds` and `idle_seconds`.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from app.domain.errors import ConfigurationInvalid
from app.store.deadline import enable_pre_ping
from app.store.private_files import create_private
from app.store.store_url import is_shared

# How long a transaction waits for a lock before the store counts as unavailable.
BUSY_MILLISECONDS: Final = 5000

# synchronous=FULL: in WAL mode a commit returns after its fsync, as a 202 promises.
# secure_delete: erased data is overwritten instead of left on free pages. Copies that SQLite leaves
# when it moves rows are not: docs/guides/operate.md, "Retention and erasure".
_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    # For readers, whose cache every commit empties.
    "PRAGMA cache_size = -2048",
    # Where the log restarts: app.store.wal_checkpointer has copied most of it before.
    "PRAGMA wal_autocheckpoint = 8000",
)

_OLDEST_POSTGRES: Final = 140_000
# Reading uses five; receiving, other writes and the lease one each.
POOL_CONNECTIONS: Final = 8
_CONNECT_SECONDS: Final = 5
# After this long the store counts as unavailable, unless the statement is allowed more.
STATEMENT_SECONDS: Final = 5
# The longest that a replica paused inside a transaction keeps its locks.
_IDLE_SECONDS: Final = 3
# Any number that no other program in the database uses. Released with the transaction, also behind
# a transaction pooler.
_LOCK: Final = "SELECT pg_advisory_xact_lock(7205759403792793600)"

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    "application_name": "relay",
    "connect_timeout": _CONNECT_SECONDS,
    # A dead connection is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # Behind a transaction pooler, the next transaction may run on another server connection.
    "prepare_threshold": None,
}


def open_engine(url: URL) -> Engine:
    """Create the engine of a store; connections are opened when they are needed."""
    return _open_postgres(url) if is_shared(url) else _open_sqlite(url)


def _open_sqlite(url: URL) -> Engine:
    # SQLite gives its other files the mode of this one. If it cannot be created, SQLite says why.
    with suppress(OSError):
        create_private(Path(url.database or ""))
    # Parameters are hidden because errors would quote them, and they are rows.
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Otherwise the driver begins transactions itself, and only before some statements.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and then writes cannot wait for its lock.
    is_exclusive = connection.get_execution_options().get("is_exclusive", False)
    connection.exec_driver_sql(f"BEGIN {'IMMEDIATE' if is_exclusive else 'DEFERRED'}")


def _open_postgres(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args=CONNECT_ARGUMENTS,
        pool_size=POOL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
    )
    event.listen(engine, "connect", _drop_notifications)
    event.listen(engine, "begin", _begin_postgres)
    enable_pre_ping(engine)
    return engine


def _drop_notifications(connection: psycopg.Connection[Any], _: object) -> None:
    # A pooler's session may be listening for another client; the driver would queue what arrives.
    connection.add_notify_handler(lambda _: None)


def _begin_postgres(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    seconds = options.get("statement_seconds", STATEMENT_SECONDS)
    idle_seconds = options.get("idle_seconds", _IDLE_SECONDS)
    # For this transaction only: behind a pooler, the session belongs to others too.
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {seconds * 1000};"
        f" SET LOCAL idle_in_transaction_session_timeout = {idle_seconds * 1000}"
    )
    if options.get("is_exclusive", False):
        connection.exec_driver_sql(_LOCK)


def check_postgres(connection: Connection) -> None:
    """Check that the server is recent enough and configured for durable, isolated transactions.

    Raises:
        ConfigurationInvalid: it is not.
    """
    isolation = connection.exec_driver_sql("SHOW default_transaction_isolation").scalar_one()
    if isolation != "read committed":
        # A writer waits for its turn, and must then see everything that was stored meanwhile.
        raise ConfigurationInvalid(
            f"STORE_URL names a database or role with default_transaction_isolation={isolation};"
            " the relay needs read committed"
        )
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
        raise ConfigurationInvalid(
            "STORE_URL names a database or role with synchronous_commit=off: acknowledged events"
            " would not survive a crash of the server"
        )
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection) and driver.info.server_version < _OLDEST_POSTGRES:
        raise ConfigurationInvalid("STORE_URL names a PostgreSQL older than 14")
