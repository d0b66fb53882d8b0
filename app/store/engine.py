"""Connections to the store, and the lock that keeps it to one relay."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from app.domain.errors import ConfigurationInvalid

# How long a transaction waits for somebody else's lock before the store counts as unavailable.
BUSY_MILLISECONDS: Final = 5000

# synchronous=FULL: in WAL mode, a commit returns after its fsync, which is what a 202 promises.
# secure_delete: what is erased is overwritten, not left on free pages.
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA cache_size = -16384",
    # An event writes some six pages at random places. Every 1,000 pages, the default, the log
    # would be copied back after 150 events; 32 MiB of log let most pages be copied once for many.
    "PRAGMA wal_autocheckpoint = 8192",
)


def read_store_url(store_url: str) -> URL:
    """Check a STORE_URL.

    Raises:
        ConfigurationInvalid: it is not a `sqlite:///` URL that names a file.
    """
    try:
        url = make_url(store_url)
    except ArgumentError as error:
        raise ConfigurationInvalid(
            "STORE_URL cannot be read as a URL; for a file: sqlite:///relay.db"
        ) from error
    if url.get_backend_name() != "sqlite":
        raise ConfigurationInvalid(
            f"STORE_URL names {url.get_backend_name()}; this version keeps its store in SQLite:"
            " sqlite:///relay.db"
        )
    if url.database in (None, "", ":memory:"):
        raise ConfigurationInvalid(
            "STORE_URL names no file; what is acknowledged must survive: sqlite:///relay.db"
        )
    return url


def open_engine(url: URL) -> Engine:
    """Make the engine; every connection commits durably and begins its transactions itself."""
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        # An error would quote them, and they are rows.
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: SqliteConnection, _: object) -> None:
    # The driver would begin transactions on its own, and only before some statements.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes then could not be retried by waiting.
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def hold_lock(url: URL) -> Iterator[None]:
    """Keep a second relay off the same file while this one runs.

    Two relays on one SQLite file would both dispatch, and a late request of the one could undo
    what the other has written.

    Raises:
        ConfigurationInvalid: the store is in use, or its folder cannot be written.
    """
    path = Path(f"{url.database}.lock")
    try:
        file = path.open("a")
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
