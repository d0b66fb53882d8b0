"""Replicas that start at once on a store that is not there yet."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import psycopg

from tests.postgres import PostgresServer

_PROCESSES: Final = 4


def test_many_processes_that_start_at_once_migrate_once(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    relay = [str(Path(sys.executable).with_name("relay")), "migrate"]
    processes = [
        subprocess.Popen(  # noqa: S603
            relay, env={"STORE_URL": url, "COLUMNS": "200"}, stdout=subprocess.PIPE, text=True
        )
        for _ in range(_PROCESSES)
    ]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * _PROCESSES
    assert sum("from revision none" in sentence for sentence in said) == 1, said
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("0001",)
        ]
