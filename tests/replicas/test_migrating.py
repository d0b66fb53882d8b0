"""Replicas that start at once on a store that is not there yet, or of an earlier version."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import psycopg
import pytest
from alembic import command
from alembic.config import Config

from app.store import migrating
from app.store.engine import open_engine, read_store_url
from tests.postgres import PostgresServer

_PROCESSES: Final = 4


@pytest.mark.parametrize("revision", [None, "0001"])
def test_many_processes_that_start_at_once_migrate_once(
    postgres: PostgresServer, revision: str | None
) -> None:
    url = postgres.create_database()
    if revision is not None:
        migrate_to(url, revision)
    relay = [str(Path(sys.executable).with_name("relay")), "migrate"]
    processes = [
        subprocess.Popen(  # noqa: S603
            relay, env={"STORE_URL": url, "COLUMNS": "200"}, stdout=subprocess.PIPE, text=True
        )
        for _ in range(_PROCESSES)
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * _PROCESSES
    before = f"from revision {revision or 'none'}"
    assert sum(before in sentence for sentence in said) == 1, said
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("0007",)
        ]
        (functions,) = connection.execute(
            "SELECT count(*) FROM pg_proc WHERE proname LIKE 'relay_receive_%'"
        ).fetchone() or (0,)
        assert functions == 1


def migrate_to(url: str, revision: str) -> None:
    """Have an earlier version's migrations run."""
    engine = open_engine(read_store_url(url))
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
