"""Copying a store into an empty one, of the same database or the other one.

All rows are read from one snapshot of the source, and written and verified in one transaction of
the target. An interrupted copy leaves the target empty.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, Table, func, insert, select, text

from app.domain.errors import ConfigurationInvalid
from app.store.database_errors import DATABASE_ERRORS, describe_failure
from app.store.engine import open_engine
from app.store.lease import read_lease
from app.store.schema import (
    account_closures,
    differences,
    entities,
    events,
    heartbeat,
    purge,
    reconciliations,
    replays,
    revocations,
)
from app.store.schema_upgrade import find_head, upgrade_schema
from app.store.store_lock import hold_store_lock
from app.store.store_url import is_shared, read_store_url

# The lease is not copied: the target has other relays. Links to the console expire in a minute.
TABLES: Final = (
    events,
    entities,
    revocations,
    account_closures,
    replays,
    reconciliations,
    differences,
    heartbeat,
    purge,
)
_COUNTED: Final = {"events": "sequence", "replays": "number", "reconciliations": "number"}
# A page takes 1.5 MB of memory.
PAGE_ROWS: Final = 2000
_OPTIONS: Final = {"statement_seconds": 1800, "idle_seconds": 1800}

Report = Callable[[str, int, int], None]
"""Receives the current step, the rows that are done, and their total."""


class CopyFailed(Exception):
    """The copy differs from the source; the sentence says how."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The number of rows and their digest, in any order, by table."""

    rows: dict[str, int]
    digests: dict[str, str]


def copy_store(
    source_url: str, target_url: str, *, report: Report, page_rows: int = PAGE_ROWS
) -> Contents:
    """Copy a store that no relay is using into an empty one.

    Returns:
        The contents of both stores.

    Raises:
        ConfigurationInvalid: one of them cannot be opened or is in use, the source is of another
            version, or the target is not empty.
        CopyFailed: one of them changed meanwhile; nothing is copied.
    """
    if read_store_url(source_url) == read_store_url(target_url):
        raise ConfigurationInvalid("--from and --to name the same store")
    with ExitStack() as stack:
        source = stack.enter_context(_open(source_url, "--from"))
        target = stack.enter_context(_open(target_url, "--to"))
        with _translate_errors("--from"):
            reader = stack.enter_context(_read(source))
            _require_source(reader)
            counters = {name: _read_counter(reader, name) for name in _COUNTED}
        with _translate_errors("--to"):
            upgrade_schema(target)
            with _read(target) as connection:
                _require_unused(connection)
            options = {"is_exclusive": True, **_OPTIONS}
            writer = stack.enter_context(target.connect().execution_options(**options))
            for table in TABLES:
                if writer.execute(select(table).limit(1)).one_or_none() is not None:
                    raise ConfigurationInvalid("STORE_URL names a store that is not empty")
            original = _read_contents(reader, report, "copying", page_rows, copy_to=writer)
            _set_counters(writer, counters)
            if _read_contents(writer, report, "verifying", page_rows) != original:
                raise CopyFailed("the copy has other rows than the source")
        with _translate_errors("--from"), _read(source) as latest:
            _require_source(latest)
            if {name: _read_counter(latest, name) for name in _COUNTED} != counters:
                raise CopyFailed("the source received events while it was copied")
        with _translate_errors("--to"):
            writer.commit()
    return original


@contextmanager
def _open(store_url: str, option: str) -> Iterator[Engine]:
    with ExitStack() as stack:
        with _translate_errors(option):
            url = read_store_url(store_url)
            # SQLite would create the file.
            if option == "--from" and not is_shared(url) and not Path(url.database or "").is_file():
                raise ConfigurationInvalid(f"STORE_URL names no store: {url.database}")
            stack.enter_context(hold_store_lock(url))
        engine = open_engine(url)
        stack.callback(engine.dispose)
        yield engine


@contextmanager
def _translate_errors(option: str) -> Iterator[None]:
    """Name the option instead of the setting, and describe errors of the database."""
    try:
        yield
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(str(error).replace("STORE_URL", option)) from error
    except DATABASE_ERRORS as error:
        reason = describe_failure(error, with_connection=True)
        raise ConfigurationInvalid(f"{option} cannot be read or written: {reason}") from error


@contextmanager
def _read(engine: Engine) -> Iterator[Connection]:
    """Read one snapshot."""
    options: dict[str, Any] = dict(_OPTIONS)
    if is_shared(engine.url):
        options["isolation_level"] = "REPEATABLE READ"
    with engine.connect().execution_options(**options) as connection:
        yield connection


def _require_source(connection: Connection) -> None:
    """Check that a store can be copied."""
    head = find_head()
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        raise ConfigurationInvalid("STORE_URL names no store")
    if revision != head:
        raise ConfigurationInvalid(
            f"STORE_URL names a store of another version ({revision}, not {head}):"
            " run `relay migrate` on it first"
        )
    _require_unused(connection)


def _require_unused(connection: Connection) -> None:
    # A file has its lock. Of the relays that use a shared store, one holds the lease.
    if connection.dialect.name == "sqlite":
        return
    lease = read_lease(connection)
    if lease is not None and lease.is_held:
        raise ConfigurationInvalid(f"STORE_URL names a store that a relay is using: {lease.holder}")


def _read_contents(
    connection: Connection,
    report: Report,
    step: str,
    page_rows: int,
    *,
    copy_to: Connection | None = None,
) -> Contents:
    """Read all rows, and copy them if asked to."""
    rows = {table.name: _count(connection, table) for table in TABLES}
    digests: dict[str, str] = {}
    done, total = 0, sum(rows.values())
    for table in TABLES:
        # A sum, because rows come in any order.
        digest = 0
        found = connection.execute(select(table), execution_options={"yield_per": page_rows})
        for page in found.partitions():
            if copy_to is not None:
                copy_to.execute(insert(table), [dict(row._mapping) for row in page])
            for row in page:
                digest += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest())
            done += len(page)
            report(step, done, total)
        digests[table.name] = f"{digest % 2**256:064x}"
    return Contents(rows, digests)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _read_counter(connection: Connection, table: str) -> int:
    """Return the latest sequence that a table has used, even if the row is gone."""
    if connection.dialect.name == "sqlite":
        query = f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'"  # noqa: S608 - our table
    else:
        query = f"SELECT last_value FROM {table}_{_COUNTED[table]}_seq WHERE is_called"  # noqa: S608
    return int(connection.execute(text(query)).scalar_one_or_none() or 0)


def _set_counters(connection: Connection, counters: dict[str, int]) -> None:
    """Make the next sequences follow all that the source has used."""
    for table, last in counters.items():
        if last == 0:
            continue
        if connection.dialect.name == "sqlite":
            values = {"name": table, "last": last}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values
            )
        else:
            sequence = f"{table}_{_COUNTED[table]}_seq"
            connection.execute(select(func.setval(sequence, last)))
