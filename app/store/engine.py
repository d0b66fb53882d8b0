"""Connections to the store, whichever database keeps it."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.domain.errors import ConfigurationInvalid
from app.store.private_files import create_private, open_private

# How long a transaction waits for somebody else's lock before the store counts as unavailable.
BUSY_MILLISECONDS: Final = 5000

# synchronous=FULL: in WAL mode, a commit returns after its fsync, which is what a 202 promises.
# secure_delete: what is erased is overwritten, not left on free pages. Copies that SQLite leaves
# when it moves rows are not: docs/guides/operate.md, "Retention and erasure".
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    # Of readers, whose cache every commit empties.
    "PRAGMA cache_size = -2048",
    # Long before that, app.store.checkpointing has copied it.
    "PRAGMA wal_autocheckpoint = 30000",
)

_POSTGRES: Final = "postgresql"
_OLDEST_POSTGRES: Final = 140_000
# Reading takes four, receiving, the rest of the writing and listening one each.
POOL_CONNECTIONS: Final = 7
_CONNECT_SECONDS: Final = 5
# A statement that takes longer counts as a store that is not available, unless it says that it may.
STATEMENT_SECONDS: Final = 5
# A replica that is paused in the middle of a transaction must not hold its locks for longer.
_IDLE_SECONDS: Final = 3

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    "application_name": "relay",
    "connect_timeout": _CONNECT_SECONDS,
    # A connection on which nothing comes back any more is given up within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # Behind a transaction pooler, the next transaction may run on another server connection.
    "prepare_threshold": None,
}


def read_store_url(store_url: str) -> URL:
    """Check a STORE_URL.

    Raises:
        ConfigurationInvalid: it names neither a file for SQLite nor a PostgreSQL database.
    """
    try:
        # What Heroku and others hand out, and SQLAlchemy does not take.
        url = make_url(store_url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # Not "from" it: with a slash in the password, its beginning is taken for the port.
        raise ConfigurationInvalid(
            "STORE_URL cannot be read as a URL; for a file: sqlite:///relay.db; in a password,"
            " write / as %2F, @ as %40, : as %3A"
        ) from None
    match url.get_backend_name():
        case "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ConfigurationInvalid(
                    "STORE_URL names no file; what is acknowledged must survive: sqlite:///relay.db"
                )
            if "uri" in url.query:
                raise ConfigurationInvalid(
                    "STORE_URL gives SQLite a URI (uri=…); give the path of a file:"
                    " sqlite:///relay.db"
                )
            return url.set(drivername="sqlite+pysqlite")
        case "postgresql":
            if not url.database:
                raise ConfigurationInvalid(
                    "STORE_URL names no database: postgresql://user:password@host/database"
                )
            return url.set(drivername="postgresql+psycopg")
        case name:
            raise ConfigurationInvalid(
                f"STORE_URL names {name}; the store is kept by SQLite (sqlite:///relay.db) or"
                " PostgreSQL (postgresql://user:password@host/database)"
            )


def is_shared(url: URL) -> bool:
    """Tell whether several relays can use the store at once."""
    return url.get_backend_name() == _POSTGRES


def open_engine(url: URL) -> Engine:
    """Make the engine; every connection commits durably and bounds its transactions."""
    if is_shared(url):
        return _open_postgres(url)
    # SQLite gives its other files the mode of this one. If it cannot be created, SQLite says why.
    with suppress(OSError):
        create_private(Path(url.database or ""))
    engine = create_engine(
        url,
        # An error would quote them, and they are rows.
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver would begin transactions on its own, and only before some statements.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes then could not be retried by waiting.
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    # None: it has begun, on the driver's cursor.
    if mode is not None:
        connection.exec_driver_sql(f"BEGIN {mode}")


def _open_postgres(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args=CONNECT_ARGUMENTS,
        pool_size=POOL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
    )
    event.listen(engine, "connect", _drop_signals)
    event.listen(engine, "begin", _bound_transaction)
    return engine


def _drop_signals(connection: psycopg.Connection[Any], _: object) -> None:
    # A pooler's session may be listening for somebody else; the driver would keep all that comes.
    connection.add_notify_handler(lambda _: None)


def _bound_transaction(connection: Connection) -> None:
    # For this transaction only: behind a pooler, the session is not ours.
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    seconds = options.get("statement_seconds", STATEMENT_SECONDS)
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {seconds * 1000};"
        f" SET LOCAL idle_in_transaction_session_timeout = {_IDLE_SECONDS * 1000}"
    )


def check_server(connection: Connection) -> None:
    """Refuse a server that is too old, or whose transactions are not what they have to be.

    Raises:
        ConfigurationInvalid: it is.
    """
    isolation = connection.exec_driver_sql("SHOW default_transaction_isolation").scalar_one()
    if isolation != "read committed":
        # Receiving waits for its turn, and must then see what was stored while it waited.
        raise ConfigurationInvalid(
            f"STORE_URL names a database or role with default_transaction_isolation={isolation};"
            " the relay needs read committed"
        )
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "off":
        raise ConfigurationInvalid(
            "STORE_URL names a database or role with synchronous_commit=off: what is acknowledged"
            " would not survive a crash of the server"
        )
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection) and driver.info.server_version < _OLDEST_POSTGRES:
        raise ConfigurationInvalid("STORE_URL names a PostgreSQL older than 14")


def is_store_failure(error: Exception) -> bool:
    """Tell a store that cannot commit (full, locked, away) from an operation's own fault."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, PoolTimeoutError):
        return True
    if isinstance(cause, psycopg.Error):
        return not isinstance(
            cause, psycopg.DataError | psycopg.IntegrityError | psycopg.ProgrammingError
        )
    return (
        isinstance(cause, sqlite3.OperationalError | sqlite3.InternalError)
        or type(cause) is sqlite3.DatabaseError
    )


def describe_failure(error: Exception, *, of_connection: bool = False) -> str:
    """Say what the database said, without what could be a row's values.

    SQLAlchemy adds the statement, PostgreSQL a DETAIL that may hold the whole row.

    Args:
        error: of SQLAlchemy or of a driver.
        of_connection: also why there is none, which names the host and the user: for who has set
            them, and not for everybody who may look at the health.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.Error):
        said = cause.diag.message_primary
        if said is not None:
            return f"{said} ({cause.sqlstate})"
        why = "; ".join(str(cause).split("\n")) if of_connection else type(cause).__name__
        return f"no connection to PostgreSQL ({why})"
    if isinstance(cause, PoolTimeoutError):
        return "every connection to PostgreSQL is in use"
    return str(cause).strip()


def hide_values(error: Exception) -> Exception:
    """Give an error that may be logged with all that it says: in place of a driver's, its gist."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.Error | PoolTimeoutError):
        return RuntimeError(f"{type(cause).__name__}: {describe_failure(error)}")
    return error


def may_succeed_at_once(error: Exception) -> bool:
    """Tell whether the same transaction, run again, would have a chance: it lost to another."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected)


@contextmanager
def hold_lock(url: URL) -> Iterator[None]:
    """Keep a second relay off the same file while this one runs; a shared store needs no such.

    Two relays on one SQLite file would both dispatch, and take the fence in Supabase from each
    other for ever.

    Raises:
        ConfigurationInvalid: the store is in use, or its folder cannot be written.
    """
    if is_shared(url):
        yield
        return
    path = Path(f"{url.database}.lock")
    try:
        file = open_private(path, "ab")
    except OSError as error:
        raise ConfigurationInvalid(
            f"STORE_URL cannot be opened: {path.parent.resolve()}: {error.strerror}"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationInvalid(
                f"STORE_URL names a store that another relay is using: {url.database}"
            ) from error
        yield
