"""Opening a store, or saying why not."""

import os
import re
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.demo.local_supabase import find_free_port
from app.domain.errors import ConfigurationInvalid
from app.store.database_errors import describe_failure, hide_values
from app.store.engine import open_engine
from app.store.store import Store
from app.store.store_lock import hold_store_lock
from app.store.store_url import read_store_url
from tests.postgres import PostgresServer


@pytest.mark.parametrize(
    "store_url",
    [
        *("", "relay.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://h/d"),
        *("::", "://", "sqlite:///file:relay.db?uri=true", "sqlite:///file::memory:?uri=true"),
    ],
)
def test_store_url_that_names_no_file_is_refused_by_name(store_url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="STORE_URL"):
        read_store_url(store_url)


@pytest.mark.parametrize(
    "store_url",
    [
        "mysql://relay:hunter2@db/relay",
        "postgresql://relay:hunter2@db",
        "postgresql://relay:hunter2@db:port/relay",
    ],
)
def test_store_url_with_a_password_is_refused_without_showing_it(store_url: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read_store_url(store_url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("change", ["password", "user", "database", "port", "option"])
async def test_store_on_a_server_that_refuses_the_login_is_one_sentence_without_the_password(
    postgres: PostgresServer, change: str
) -> None:
    url = make_url(postgres.url).set(password="hunter2")
    match change:
        case "user":
            url = url.set(username="somebody")
        case "database":
            url = make_url(postgres.url).set(database="nowhere")
        case "port":
            url = url.set(port=find_free_port())
        case "option":
            url = url.update_query_dict({"sslmode": "perhaps"})
        case _:
            pass  # the password is wrong already
    with pytest.raises(ConfigurationInvalid) as caught:
        await Store.open(url.render_as_string(hide_password=False))
    sentence = str(caught.value)
    assert re.fullmatch(r"STORE_URL cannot be opened: [^\n]+", sentence)
    assert str(url.password) not in "".join(traceback.format_exception(caught.value))


async def test_store_on_a_server_of_another_isolation_level_is_refused(
    postgres: PostgresServer,
) -> None:
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {url.rpartition('/')[2]}"
            " SET default_transaction_isolation = 'repeatable read'"
        )
    with pytest.raises(ConfigurationInvalid, match="default_transaction_isolation=repeatable read"):
        await Store.open(url)


@pytest.mark.parametrize("statement", ["insert", "divide", "cast"])
def test_failure_of_a_database_is_described_without_values(
    postgres: PostgresServer, statement: str
) -> None:
    """PostgreSQL's DETAIL holds the row that failed."""
    engine = open_engine(read_store_url(postgres.create_database()))
    statements = {
        "insert": "INSERT INTO people VALUES (1, 'jane@example.com', NULL)",
        "divide": "SELECT 1 / length('') FROM people",
        "cast": "UPDATE people SET note = repeat('jane@example.com', 2)",
    }
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE people (id int, email text, note varchar(20))"))
        connection.execute(text("INSERT INTO people VALUES (0, 'jane@example.com', 'x')"))
        connection.execute(text("ALTER TABLE people ALTER note SET NOT NULL"))
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text(statements[statement]))
    engine.dispose()
    assert "jane" not in describe_failure(caught.value)
    hidden = hide_values(caught.value)
    assert "jane" not in "".join(traceback.format_exception(hidden))
    assert re.search(r"\([0-9A-Z]{5}\)$", describe_failure(caught.value))


async def test_store_in_a_missing_directory_is_one_sentence(tmp_path: Path) -> None:
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
        "from app.store.store_lock import hold_store_lock\n"
        "from app.store.store_url import read_store_url\n"
        f"with hold_store_lock(read_store_url({f'sqlite:///{tmp_path}/relay.db'!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)  # noqa: S603
    assert killed.returncode == -9
    with hold_store_lock(url):
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


def test_engine_exclusive_transaction_locks_when_it_begins(tmp_path: Path) -> None:
    engine = open_engine(read_store_url(f"sqlite:///{tmp_path}/relay.db"))
    other = sqlite3.connect(tmp_path / "relay.db", timeout=0)
    with (
        engine.connect().execution_options(is_exclusive=True) as writer,
        writer.begin(),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()
