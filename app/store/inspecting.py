"""Looking at a store without opening it for writing: a relay may be running on it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import psycopg
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from app.domain.errors import ConfigurationInvalid
from app.store.engine import (
    BUSY_MILLISECONDS,
    check_server,
    describe_failure,
    hide_values,
    is_shared,
    open_engine,
    read_store_url,
)
from app.store.inbox import FUNCTION
from app.store.migrating import find_head, list_revisions
from app.store.signals import finds_pooler

_FACTS = text("""
select current_setting('server_version') as version, pg_is_in_recovery() as is_standby,
  current_schema() as schema, current_user as role,
  coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
  to_regproc(:function) is not null as has_function
""")


class Standing(StrEnum):
    """How a store's schema stands to the one that this version of the relay has."""

    ABSENT = "absent"
    BEHIND = "behind"
    CURRENT = "current"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class StoreState:
    """What a store is.

    Attributes:
        place: where it is, for people; holds no password.
        standing: of its schema.
        revision: of its schema; None where there is none yet.
        head: the revision that this version of the relay has.
        has_function: whether the function that receives events is there; a file needs none.
        has_sessions: whether its connections are sessions, not a transaction pooler's; None for a
            file.
    """

    place: str
    standing: Standing
    revision: str | None
    head: str
    has_function: bool = True
    has_sessions: bool | None = None


def inspect_store(store_url: str) -> StoreState:
    """Look at a store; makes and changes nothing.

    Raises:
        ConfigurationInvalid: it cannot be read, or a relay could not start with it.
    """
    url = read_store_url(store_url)
    return _inspect_postgres(url) if is_shared(url) else _inspect_file(url)


def _inspect_file(url: URL) -> StoreState:
    path = Path(url.database or "")
    if not path.exists():
        if not path.absolute().parent.is_dir():
            raise ConfigurationInvalid(f"STORE_URL names a folder that is not there: {path.parent}")
        return StoreState(str(path), *_compare(None))
    try:
        with closing(
            sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_MILLISECONDS / 1000
            )
        ) as connection:
            # A relay that was killed at its first start leaves an empty file.
            is_empty = connection.execute("select 1 from sqlite_master").fetchone() is None
            row = (
                None
                if is_empty
                else connection.execute("select version_num from alembic_version").fetchone()
            )
    except sqlite3.Error as error:
        raise ConfigurationInvalid(f"STORE_URL cannot be read: {error}") from error
    return StoreState(str(path), *_compare(None if row is None else str(row[0])))


def _inspect_postgres(url: URL) -> StoreState:
    engine = open_engine(url)
    try:
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            check_server(connection)
            place, has_function = _read_facts(connection, url)
            revision = MigrationContext.configure(connection).get_current_revision()
        has_sessions = not finds_pooler(url)
    except (DBAPIError, psycopg.Error) as error:
        reason = describe_failure(error, of_connection=True)
        raise ConfigurationInvalid(f"STORE_URL cannot be opened: {reason}") from hide_values(error)
    finally:
        engine.dispose()
    return StoreState(
        place, *_compare(revision), has_function=has_function, has_sessions=has_sessions
    )


def _read_facts(connection: Connection, url: URL) -> tuple[str, bool]:
    facts = connection.execute(_FACTS, {"function": FUNCTION}).one()
    if facts.is_standby:
        raise ConfigurationInvalid("STORE_URL names a standby, which can only be read")
    if not facts.may_create:
        # Since PostgreSQL 15 only the owner of a database may create in its schema public.
        schema = facts.schema or "public"
        raise ConfigurationInvalid(
            f"STORE_URL names a role that may create nothing in the schema {schema}; as the owner"
            f' of the database: grant create on schema {schema} to "{facts.role}"'
        )
    version = facts.version.split()[0]
    host = url.host or url.query.get("host") or "its socket"
    return f"{url.database} on {host} (PostgreSQL {version})", facts.has_function


def _compare(revision: str | None) -> tuple[Standing, str | None, str]:
    head = find_head()
    if revision is None:
        return Standing.ABSENT, None, head
    if revision == head:
        return Standing.CURRENT, revision, head
    is_known = revision in list_revisions()
    return (Standing.BEHIND if is_known else Standing.NEWER), revision, head
