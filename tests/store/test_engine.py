"""Opening a store, or saying why not."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from app.domain.errors import ConfigurationInvalid
from app.store.engine import hold_lock, open_engine, read_store_url
from app.store.store import Store


@pytest.mark.parametrize(
    "store_url",
    ["", "relay.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://h/d", "::", "://"],
)
def test_store_url_that_names_no_file_is_refused_by_name(store_url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="STORE_URL"):
        read_store_url(store_url)


def test_store_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read_store_url("postgresql://relay:hunter2@db/relay")
    assert "hunter2" not in str(caught.value)


async def test_store_in_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="STORE_URL cannot be opened"):
        await Store.open(f"sqlite:///{tmp_path}/nowhere/relay.db")


async def test_store_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "relay.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(ConfigurationInvalid, match="STORE_URL cannot be opened"):
        await Store.open(f"sqlite:///{tmp_path}/relay.db")


async def test_store_in_use_is_refused_until_it_is_free(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    first = await Store.open(url)
    with pytest.raises(ConfigurationInvalid, match="another relay is using"):
        await Store.open(url)
    await first.close()
    second = await Store.open(url)
    await second.close()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    url = read_store_url(f"sqlite:///{tmp_path}/relay.db")
    script = (
        "import os, signal\n"
        "from app.store.engine import hold_lock, read_store_url\n"
        f"with hold_lock(read_store_url({f'sqlite:///{tmp_path}/relay.db'!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)  # noqa: S603
    assert killed.returncode == -9
    with hold_lock(url):
        pass


def test_engine_connections_commit_durably_and_overwrite_what_is_erased(tmp_path: Path) -> None:
    engine = open_engine(read_store_url(f"sqlite:///{tmp_path}/relay.db"))
    with engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_engine_writer_takes_the_lock_when_it_begins(tmp_path: Path) -> None:
    engine = open_engine(read_store_url(f"sqlite:///{tmp_path}/relay.db"))
    other = sqlite3.connect(tmp_path / "relay.db", timeout=0)
    with (
        engine.connect().execution_options(sqlite_begin="IMMEDIATE") as writer,
        writer.begin(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()
