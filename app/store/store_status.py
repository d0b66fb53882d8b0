"""Inspecting a store without changing it; a relay may be using it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from app.domain.errors import ConfigurationInvalid
from app.store.database_errors import DATABASE_ERRORS, describe_failure, hide_values
from app.store.engine import BUSY_MILLISECONDS, check_postgres, open_engine
from app.store.notifications import is_behind_pooler
from app.store.schema_upgrade import find_head, list_revisions
from app.store.store_url import is_shared, read_store_url

_SELECT_FACTS: Final = text("""
select current_setting('server_version') as version, pg_is_in_recovery() as is_standby,
  current_schema() as schema, current_user as role,
  coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create
""")


class SchemaStatus(StrEnum):
    """A store's schema compared to this version's."""

    ABSENT = "absent"
    BEHIND = "behind"
    CURRENT = "current"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """A store and its schema.

    Attributes:
        place: for people; contains no password.
        revision: of the store's schema; None if the schema is absent.
        head: the newest revision of this version of the relay.
        is_behind_pooler: whether a transaction pooler stands before it; None for a file.
    """

    place: str
    schema: SchemaStatus
    revision: str | None
    head: str
    is_behind_pooler: bool | None = None


def inspect_store(store_url: str) -> StoreStatus:
    """Inspect a store; create and change nothing.

    Raises:
        ConfigurationInvalid: it cannot be read, or a relay could not start with it.
    """
    url = read_store_url(store_url)
    return _inspect_postgres(url) if is_shared(url) else _inspect_file(url)


def _inspect_file(url: URL) -> StoreStatus:
    path = Path(url.database or "")
    if not path.exists():
        if not path.absolute().parent.is_dir():
            raise ConfigurationInvalid(
                f"STORE_URL names a directory that does not exist: {path.parent}"
            )
        return StoreStatus(str(path), *_compare(None))
    try:
        with closing(
            sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_MILLISECONDS / 1000
            )
        ) as connection:
            # A relay that was killed during its first start leaves an empty file.
            is_empty = connection.execute("select 1 from sqlite_master").fetchone() is None
            row = (
                None
                if is_empty
                else connection.execute("select version_num from alembic_version").fetchone()
            )
    except sqlite3.Error as error:
        raise ConfigurationInvalid(f"STORE_URL cannot be read: {error}") from error
    return StoreStatus(str(path), *_compare(None if row is None else str(row[0])))


def _inspect_postgres(url: URL) -> StoreStatus:
    engine = open_engine(url)
    try:
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            check_postgres(connection)
            place = _describe_place(connection, url)
            revision = MigrationContext.configure(connection).get_current_revision()
        behind_pooler = is_behind_pooler(url)
    except DATABASE_ERRORS as error:
        reason = describe_failure(error, with_connection=True)
        raise ConfigurationInvalid(f"STORE_URL cannot be opened: {reason}") from hide_values(error)
    finally:
        engine.dispose()
    return StoreStatus(place, *_compare(revision), is_behind_pooler=behind_pooler)


def _describe_place(connection: Connection, url: URL) -> str:
    facts = connection.execute(_SELECT_FACTS).one()
    if facts.is_standby:
        raise ConfigurationInvalid("STORE_URL names a standby, which is read-only")
    if not facts.may_create:
        # Since PostgreSQL 15, only the owner of a database may create in its schema public.
        schema = facts.schema or "public"
        raise ConfigurationInvalid(
            f"STORE_URL names a role that may create nothing in the schema {schema}; as the owner"
            f' of the database: grant create on schema {schema} to "{facts.role}"'
        )
    version = facts.version.split()[0]
    host = url.host or url.query.get("host") or "its socket"
    return f"{url.database} on {host} (PostgreSQL {version})"


def _compare(revision: str | None) -> tuple[SchemaStatus, str | None, str]:
    head = find_head()
    if revision is None:
        return SchemaStatus.ABSENT, None, head
    if revision == head:
        return SchemaStatus.CURRENT, revision, head
    is_known = revision in list_revisions()
    return (SchemaStatus.BEHIND if is_known else SchemaStatus.NEWER), revision, head
