"""Bringing a store's schema to this version's, forward only, one process at a time."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.store.engine import (
    check_server,
    describe_failure,
    hide_values,
    hold_lock,
    open_engine,
    read_store_url,
)
from app.store.inbox import create_function

# Any number would do that no other program in the database takes.
_LOCK = 7_205_759_403_792_793_600
# Migrating many events takes its time.
_STATEMENT_SECONDS = 1800

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate_store(store_url: str, *, hit: FailpointHook = noop) -> tuple[str | None, str]:
    """Open a store that no relay is using and migrate it.

    Raises:
        ConfigurationInvalid: it cannot be opened, is in use, or is of a newer version.
    """
    url = read_store_url(store_url)
    with hold_lock(url):
        engine = open_engine(url)
        try:
            return migrate(engine, hit=hit)
        finally:
            engine.dispose()


def migrate(engine: Engine, *, hit: FailpointHook = noop) -> tuple[str | None, str]:
    """Run what is missing, all in one transaction, and give the revision before and after.

    Raises:
        ConfigurationInvalid: the store cannot be opened, or a newer version made it.
    """
    config = _configure()
    head = find_head()
    try:
        # BEGIN IMMEDIATE is the lock: a second process waits here, then finds nothing to do.
        options = {"sqlite_begin": "IMMEDIATE", "statement_seconds": _STATEMENT_SECONDS}
        with engine.connect().execution_options(**options) as connection:
            if connection.dialect.name == "postgresql":
                check_server(connection)
                # The same; it ends with the transaction, also behind a transaction pooler.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            before = MigrationContext.configure(connection).get_current_revision()
            if before != head:
                config.attributes["connection"] = connection
                command.upgrade(config, head)
                hit(Failpoint.IN_MIGRATION)
            if connection.dialect.name == "postgresql":
                create_function(connection)
            connection.commit()
    except CommandError as error:
        raise ConfigurationInvalid(
            "STORE_URL names a store that a newer version of the relay has migrated, or a copy that"
            " was not finished"
        ) from error
    except (DBAPIError, PoolTimeoutError) as error:
        reason = describe_failure(error, of_connection=True)
        raise ConfigurationInvalid(f"STORE_URL cannot be opened: {reason}") from hide_values(error)
    return before, head


def find_head() -> str:
    """Give the revision that this version's migrations lead to."""
    if not list_revisions():
        raise RuntimeError("no migrations are shipped")
    return list_revisions()[0]


@cache
def list_revisions() -> tuple[str, ...]:
    """Give the revision that each of this version's migrations leads to, the newest first."""
    scripts = ScriptDirectory.from_config(_configure())
    return tuple(script.revision for script in scripts.walk_revisions())


def _configure() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
