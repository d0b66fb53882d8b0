"""The schema and the migrations that lead to it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from app.domain.errors import ConfigurationInvalid
from app.store.engine import open_engine
from app.store.schema import metadata
from app.store.schema_upgrade import upgrade_store
from app.store.store_url import read_store_url

HEAD = "0001"


def is_compared(_: object, name: str | None, *__: object) -> bool:
    """Skip the index on an expression, which Alembic cannot compare."""
    return name != "entities_pending"


def test_migrations_lead_to_the_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_compared})
        differences = compare_metadata(context, metadata)
    # Comments are only for readers of schema.py.
    assert [each for each in differences if "modify_comment" not in str(each)] == []


def test_migrated_store_has_the_index_that_the_dispatcher_claims_by(
    engine: Engine,
) -> None:
    catalog = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'entities_pending'",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = 'entities_pending'",
    }
    with engine.connect() as connection:
        sql = connection.execute(text(catalog[engine.dialect.name])).scalar_one()
    assert "(priority, due_at, kind DESC)" in sql
    assert re.search(r"WHERE \(?state = 'pending'", sql)


def test_sqlite_migrations_let_no_sequence_be_given_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    upgrade_store(url)
    engine = open_engine(read_store_url(url))
    with engine.connect() as connection:
        sql = connection.execute(text("SELECT sql FROM sqlite_master WHERE name='events'"))
        assert "AUTOINCREMENT" in sql.scalar_one()
    engine.dispose()


def test_migrate_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    assert upgrade_store(url) == (None, HEAD)
    assert upgrade_store(url) == (HEAD, HEAD)


def test_upgrade_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    upgrade_store(url)
    engine = open_engine(read_store_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigurationInvalid, match="newer version"):
        upgrade_store(url)


def test_migrate_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    engine = open_engine(read_store_url(url))
    with engine.begin() as connection:
        # The last table that the migration makes is in the way.
        connection.execute(text("CREATE TABLE replays (replay_id TEXT)"))
    with pytest.raises(ConfigurationInvalid, match="already exists"):
        upgrade_store(url)
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        assert names.scalars().all() == ["replays"]
    engine.dispose()


def test_migrate_by_many_processes_at_once_ends_with_one_schema(tmp_path: Path) -> None:
    script = (
        "from app.store.engine import open_engine\n"
        "from app.store.store_url import read_store_url\n"
        "from app.store.schema_upgrade import upgrade_schema\n"
        f"print(upgrade_schema(open_engine(read_store_url('sqlite:///{tmp_path}/relay.db')))[1])\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in processes] == [f"{HEAD}\n"] * 4
