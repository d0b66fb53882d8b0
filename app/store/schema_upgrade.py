"""Upgrading a store's schema to this version's, forward only, one process at a time."""

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine

from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.store.database_errors import DATABASE_ERRORS, describe_failure, hide_values
from app.store.engine import check_postgres, open_engine
from app.store.store_lock import hold_store_lock
from app.store.store_url import read_store_url

_STATEMENT_SECONDS: Final = 1800
_SCRIPTS: Final = Path(__file__).parent / "migrations"


def upgrade_store(store_url: str, *, hit: FailpointHook = noop) -> tuple[str | None, str]:
    """Open a store that no relay is using and upgrade it.

    Raises:
        ConfigurationInvalid: it cannot be opened, is in use, or is of a newer version.
    """
    url = read_store_url(store_url)
    with hold_store_lock(url):
        engine = open_engine(url)
        try:
            return upgrade_schema(engine, hit=hit)
        finally:
            engine.dispose()


def upgrade_schema(engine: Engine, *, hit: FailpointHook = noop) -> tuple[str | None, str]:
    """Run missing migrations in one transaction; return the revision before and after.

    Raises:
        ConfigurationInvalid: the store cannot be opened, or is of a newer version.
    """
    config = _configure()
    head = find_head()
    try:
        # A second process waits for the write lock here, and then finds nothing to do.
        options = {"is_exclusive": True, "statement_seconds": _STATEMENT_SECONDS}
        with engine.connect().execution_options(**options) as connection:
            if connection.dialect.name == "postgresql":
                check_postgres(connection)
            before = MigrationContext.configure(connection).get_current_revision()
            if before != head:
                config.attributes["connection"] = connection
                command.upgrade(config, head)
                hit(Failpoint.IN_MIGRATION)
            connection.commit()
    except CommandError as error:
        raise ConfigurationInvalid(
            "STORE_URL names a store that a newer version of the relay has migrated"
        ) from error
    except DATABASE_ERRORS as error:
        reason = describe_failure(error, with_connection=True)
        raise ConfigurationInvalid(f"STORE_URL cannot be opened: {reason}") from hide_values(error)
    return before, head


def find_head() -> str:
    """Return the newest revision of this version."""
    return list_revisions()[0]


@cache
def list_revisions() -> tuple[str, ...]:
    """Return this version's revisions, the newest first."""
    scripts = ScriptDirectory.from_config(_configure())
    revisions = tuple(script.revision for script in scripts.walk_revisions())
    if not revisions:
        raise RuntimeError("this package contains no migrations of the store")
    return revisions


def _configure() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
