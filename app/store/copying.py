"""Copying a store into another, of the same database or the other one.

Rows are copied in pages, each one commit, in the order of their keys; so a copy that was killed
goes on after as many rows as it has. Until all of it is there and equal, the target's revision is
one that no relay knows: none starts on half a store. That revision names what is copied, by a
digest over every row, so that a copy is only ever continued from the very same source.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.domain.errors import ConfigurationInvalid
from app.store.engine import hold_lock, is_shared, open_engine, read_store_url
from app.store.leasing import read_lease
from app.store.migrating import find_head, migrate
from app.store.schema import entities, events, heartbeat, purge, replays

# The lease stays behind: who dispatched there does not dispatch here.
TABLES: Final = (events, entities, replays, heartbeat, purge)
_COUNTED: Final = {"events": "sequence", "replays": "number"}
# One commit each; of a page's 1.5 MB in memory nobody takes notice.
PAGE_ROWS: Final = 2000
_STATEMENT_SECONDS: Final = 1800
_MARKER: Final = "copy-"

Report = Callable[[str, int, int], None]
"""Takes what is being done, how many rows are done with, and of how many."""


class CopyFailed(Exception):
    """The target is not what the source is, and no relay starts on it; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds.

    Attributes:
        rows: by table.
        digests: over each table's rows, in whatever order they come.
        counters: the last sequence that each table has given, also to rows that are gone.
    """

    rows: dict[str, int]
    digests: dict[str, str]
    counters: dict[str, int]


def copy_store(
    source_url: str, target_url: str, *, report: Report, page_rows: int = PAGE_ROWS
) -> Contents:
    """Copy a store that no relay is using into an empty one, or go on where a copy was ended.

    Returns:
        What both of them hold.

    Raises:
        ConfigurationInvalid: one of them cannot be opened or is in use, the source is of another
            version, or the target holds something else.
        CopyFailed: something was changed by others meanwhile.
    """
    if read_store_url(source_url) == read_store_url(target_url):
        raise ConfigurationInvalid("--from and --to name the same store")
    with ExitStack() as stack:
        source = stack.enter_context(_open(source_url, "--from"))
        target = stack.enter_context(_open(target_url, "--to"))
        with _named("--from"):
            head = _require_source(source)
            original = _read_contents(source, report, "reading", page_rows)
        with _named("--to"):
            marker = _name_copy(original, head)
            _claim_target(target, marker)
            _copy_tables(source, target, original, report, page_rows)
            _set_counters(target, original)
            copy = _read_contents(target, report, "verifying", page_rows)
            if copy != original:
                raise CopyFailed(_describe_difference(original, copy))
        with _named("--from"):
            _require_still(source, original)
        with _named("--to"), _begin(target) as connection:
            _write_revision(connection, head)
    return original


@contextmanager
def _open(store_url: str, option: str) -> Iterator[Engine]:
    with _named(option), ExitStack() as stack:
        url = read_store_url(store_url)
        if option == "--from":
            _require_file(url)
        stack.enter_context(hold_lock(url))
        engine = open_engine(url)
        stack.callback(engine.dispose)
        kept = stack.pop_all()
    with kept:
        yield engine


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Have errors name the option instead of the setting, and those of the database be ours."""
    try:
        yield
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(str(error).replace("STORE_URL", option)) from error
    except (DBAPIError, PoolTimeoutError) as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        raise ConfigurationInvalid(f"{option} cannot be read or written: {reason}") from error


def _require_file(url: URL) -> None:
    # SQLite would make one.
    if not is_shared(url) and not Path(url.database or "").is_file():
        raise ConfigurationInvalid(f"STORE_URL names no store: {url.database}")


@contextmanager
def _begin(engine: Engine) -> Iterator[Connection]:
    options = {"sqlite_begin": "IMMEDIATE", "statement_seconds": _STATEMENT_SECONDS}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def _read(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(statement_seconds=_STATEMENT_SECONDS) as connection:
        yield connection


def _require_source(engine: Engine) -> str:
    """Give the revision of a store that can be copied."""
    head = find_head()
    with _read(engine) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            raise ConfigurationInvalid("STORE_URL names no store")
        if revision.startswith(_MARKER):
            raise ConfigurationInvalid("STORE_URL names a copy that was not finished")
        if revision != head:
            raise ConfigurationInvalid(
                f"STORE_URL names a store of another version ({revision}, not {head}):"
                " run `relay migrate` on it first"
            )
        _require_unused(connection)
    return head


def _require_unused(connection: Connection) -> None:
    # A file has its lock; of relays that run on a shared store, one holds the lease.
    if connection.dialect.name == "sqlite":
        return
    lease = read_lease(connection)
    if lease is not None and lease.is_held:
        raise ConfigurationInvalid(f"STORE_URL names a store that a relay is using: {lease.holder}")


def _require_still(engine: Engine, original: Contents) -> None:
    """Make sure that nobody has begun to use the source meanwhile."""
    _require_source(engine)
    with _read(engine) as connection:
        if {name: _read_counter(connection, name) for name in _COUNTED} != original.counters:
            raise CopyFailed("the source has taken events while it was copied")


def _name_copy(contents: Contents, head: str) -> str:
    # alembic_version takes 32 characters.
    return _MARKER + hashlib.sha256(repr((head, contents)).encode()).hexdigest()[:24]


def _claim_target(engine: Engine, marker: str) -> None:
    """Make the tables and mark them as a copy, unless they are this copy already."""
    with _read(engine) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision == marker:
            return
        if revision is not None and revision.startswith(_MARKER):
            raise ConfigurationInvalid(
                "STORE_URL holds a part of another copy, or its source has changed since: empty it"
            )
        if revision is not None and inspect(connection).has_table("lease"):
            _require_unused(connection)
    migrate(engine)
    with _begin(engine) as connection:
        for table in TABLES:
            if connection.execute(select(table).limit(1)).one_or_none() is not None:
                raise ConfigurationInvalid("STORE_URL names a store that is not empty")
        _write_revision(connection, marker)


def _write_revision(connection: Connection, revision: str) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def _copy_tables(
    source: Engine, target: Engine, original: Contents, report: Report, page_rows: int
) -> None:
    total = sum(original.rows.values())
    done = 0
    for table in TABLES:
        with _read(target) as connection:
            copied = _count(connection, table)
        done += copied
        report("copying", done, total)
        for page in _read_pages(source, table, page_rows, skip=copied):
            with _begin(target) as connection:
                connection.execute(insert(table), [dict(row._mapping) for row in page])
            done += len(page)
            report("copying", done, total)


def _read_pages(
    engine: Engine, table: Table, page_rows: int, *, skip: int = 0
) -> Iterator[Sequence[Row[Any]]]:
    """Read a table by its key, from after the first `skip` rows on."""
    key = list(table.primary_key.columns)
    place: tuple[Any, ...] | None = None
    with _read(engine) as connection:
        if skip:
            # Of the source's own order: text may be sorted otherwise in the target.
            last = select(*key).order_by(*key).limit(1).offset(skip - 1)
            place = tuple(connection.execute(last).one())
        while True:
            statement = select(table).order_by(*key).limit(page_rows)
            if place is not None:
                statement = statement.where(tuple_(*key) > tuple_(*place))
            page = connection.execute(statement).all()
            # No transaction stays open while the page is dealt with.
            connection.rollback()
            if not page:
                return
            place = tuple(page[-1]._mapping[column] for column in key)
            yield page


def _read_contents(engine: Engine, report: Report, what: str, page_rows: int) -> Contents:
    with _read(engine) as connection:
        rows = {table.name: _count(connection, table) for table in TABLES}
        counters = {name: _read_counter(connection, name) for name in _COUNTED}
    digests: dict[str, str] = {}
    done, total = 0, sum(rows.values())
    for table in TABLES:
        # A sum, so that it does not matter how a database sorts text.
        digest = 0
        for page in _read_pages(engine, table, page_rows):
            for row in page:
                digest += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest())
            done += len(page)
            report(what, done, total)
        digests[table.name] = f"{digest % 2**256:064x}"
    return Contents(rows, digests, counters)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _read_counter(connection: Connection, table: str) -> int:
    if connection.dialect.name == "sqlite":
        found = connection.execute(
            text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table}
        ).scalar_one_or_none()
        return int(found or 0)
    name = f"{table}_{_COUNTED[table]}_seq"
    found = connection.execute(
        text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {name}")  # noqa: S608
    ).scalar_one()
    return int(found)


def _set_counters(engine: Engine, original: Contents) -> None:
    """Have the next sequence be past every one that was ever given."""
    with _begin(engine) as connection:
        for table, last in original.counters.items():
            if last == 0:
                continue
            values = {"name": table, "last": last}
            if connection.dialect.name == "sqlite":
                connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
                connection.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), values
                )
            else:
                values = {"name": f"{table}_{_COUNTED[table]}_seq", "last": last}
                connection.execute(text("SELECT setval(:name, :last)"), values)


def _describe_difference(original: Contents, copy: Contents) -> str:
    for table in TABLES:
        name = table.name
        if original.rows[name] != copy.rows[name]:
            return (
                f"the copy has {copy.rows[name]:,} rows of {name} instead of"
                f" {original.rows[name]:,}"
            )
        if original.digests[name] != copy.digests[name]:
            return f"the copy has other rows of {name} than the source had"
    return "the copy would give sequences again that the source has given"
