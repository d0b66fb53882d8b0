"""Bringing a store's schema to this version's, forward only, one process at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint, Reach, ignore
from app.store.engine import hold_lock, open_engine, read_store_url

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate_store(store_url: str, *, reach: Reach = ignore) -> tuple[str | None, str]:
    """Open a store that no relay is using and migrate it.

    Raises:
        ConfigurationInvalid: it cannot be opened, is in use, or is of a newer version.
    """
    url = read_store_url(store_url)
    with hold_lock(url):
        engine = open_engine(url)
        try:
            return migrate(engine, reach=reach)
        finally:
            engine.dispose()


def migrate(engine: Engine, *, reach: Reach = ignore) -> tuple[str | None, str]:
    """Run what is missing, all in one transaction, and give the revision before and after.

    Raises:
        ConfigurationInvalid: the store cannot be opened, or a newer version made it.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    head = ScriptDirectory.from_config(config).get_current_head()
    if head is None:
        raise RuntimeError("no migrations are shipped")
    try:
        # BEGIN IMMEDIATE is the lock: a second process waits here, then finds nothing to do.
        with engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection:
            before = MigrationContext.configure(connection).get_current_revision()
            if before != head:
                config.attributes["connection"] = connection
                command.upgrade(config, head)
                reach(Failpoint.IN_MIGRATION)
            connection.commit()
    except CommandError as error:
        raise ConfigurationInvalid(
            "STORE_URL names a store that a newer version of the relay has migrated"
        ) from error
    except DBAPIError as error:
        raise ConfigurationInvalid(f"STORE_URL cannot be opened: {error.orig}") from error
    return before, head
