"""Real PostgreSQL servers for tests and benchmarks, on any machine and as any user."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import psycopg
import pytest
from psycopg import sql

from app.demo.local_supabase import find_free_port
from tests.postgres_binaries import (
    Owner,
    PostgresError,
    PostgresSource,
    choose_owner,
    find_postgres,
    make_usable,
)

GUARD: Final = Path(__file__).with_name("postgres_guard.py")
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
USER: Final = "relay"
NOT_DURABLE: Final = ("fsync=off", "full_page_writes=off")


@dataclass(slots=True, eq=False)
class PostgresServer:
    """A PostgreSQL that can be ended in every way and started again with its data.

    Attributes:
        url: its first database over TCP, as a superuser.
        socket_url: the same over its Unix socket.
        port: of 127.0.0.1, and part of the socket's name.
        folder: holds its data, its socket and its log.
    """

    url: str
    socket_url: str
    port: int
    folder: Path
    _command: Sequence[str | Path]
    _owner: Owner
    _guard: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        if self._guard is None:
            raise PostgresError("PostgreSQL is not running.")
        return int(self._pid_file.read_text().partition("\n")[0])

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def _pid_file(self) -> Path:
        return self.folder / "data" / "postmaster.pid"

    def start(self) -> None:
        """Start it and return once it accepts connections, after crash recovery if necessary."""
        if self._guard is not None:
            raise PostgresError("PostgreSQL is running already.")
        stale = self._read_pid_file()
        self._guard = start_guarded(self._command, self.folder, self._owner)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._guard.poll() is None:
            text = self._read_pid_file()
            # The last line is the state of the start.
            if text != stale and text.rstrip().endswith("ready"):
                return
            time.sleep(0.01)
        self._end_guard()
        raise PostgresError(f"PostgreSQL did not start: {self.log}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it cleanly, its connections too."""
        if self._guard is None:
            return
        # It may have ended already.
        with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
            self.resume()
            os.kill(self.pid, number)
        try:
            self._guard.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._end_guard()

    def kill(self) -> None:
        """`kill -9` all of its processes: a crash, after which `start` has to recover."""
        processes = self._suspend()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._end_guard()
        # Until the last of them is gone, the next postmaster finds its shared memory in use.
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(_is_alive, processes)):
            if time.monotonic() > deadline:
                raise PostgresError("PostgreSQL's processes outlive SIGKILL.")
            time.sleep(0.005)

    def pause(self) -> None:
        """Suspend all of its processes: it accepts connections and never responds."""
        self._suspend()

    def resume(self) -> None:
        """Resume all of its processes."""
        postmaster = psutil.Process(self.pid)
        for process in (*postmaster.children(), postmaster):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def create_database(self, *, template: str | None = None, icu_locale: str | None = None) -> str:
        """Create a database and return its URL.

        Args:
            template: the database to copy, without connections; None: empty.
            icu_locale: how text sorts in it; None: byte by byte.
        """
        name = f"test_{secrets.token_hex(8)}"
        template = template or ("template1" if icu_locale is None else "template0")
        statement = sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        if icu_locale is not None:
            statement += sql.SQL(" locale_provider icu icu_locale {}").format(
                sql.Literal(icu_locale)
            )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` has created, and end its connections."""
        name = sql.Identifier(url.rpartition("/")[2])
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))

    def _suspend(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()  # first, so that it has no more children
        children = postmaster.children()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.suspend()
        # A signal is slow on a busy machine.
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(_is_running, children)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return [*children, postmaster]

    def _read_pid_file(self) -> str:
        return self._pid_file.read_text() if self._pid_file.exists() else ""

    def _end_guard(self) -> None:
        if self._guard is None or self._guard.stdin is None:
            return
        if self._guard.poll() is None:
            self._guard.wait(STOP_SECONDS)
        self._guard.stdin.close()
        self._guard = None


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return False


def _is_alive(process: psutil.Process) -> bool:
    # An orphan stays a zombie where process 1 of the container does not care for it.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def run_postgres(
    *,
    durable: bool = True,
    max_connections: int = 100,
    source: PostgresSource | None = None,
) -> Iterator[PostgresServer]:
    """Run an empty PostgreSQL until the block ends; it ends with us too if we are killed.

    Its data is in the folder for temporary files: for a benchmark of commits, TMPDIR says on which
    disk.

    Args:
        durable: a commit is on disk; without it, it survives `kill` but no power cut.
        max_connections: its limit.
        source: run the PostgreSQL of this place only.

    Raises:
        PostgresError: none is recent enough, or it does not start.
    """
    binaries = find_postgres(source)
    owner = choose_owner()
    # Not pytest's folder: a socket's path has at most 107 bytes, and another user must get in.
    parent = Path(tempfile.gettempdir())
    if not owner.can_enter(parent):
        parent = Path("/tmp")  # noqa: S108 - only the parent of a folder with a random name
    with tempfile.TemporaryDirectory(prefix="pg-", dir=parent) as name:
        folder = Path(name)
        owner.give(folder)
        programs = make_usable(binaries, owner, folder)
        password = secrets.token_urlsafe(16)
        _create_cluster(programs, folder, owner, password)
        port = find_free_port()
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={port}",
            f"unix_socket_directories={folder}",
            f"max_connections={max_connections}",
            *(() if durable else NOT_DURABLE),
        ]
        server = PostgresServer(
            url=f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres",
            socket_url=f"postgresql://{USER}:{password}@/postgres?host={folder}&port={port}",
            port=port,
            folder=folder,
            _command=[
                *(programs / "postgres", "-D", folder / "data"),
                *(part for setting in settings for part in ("-c", setting)),
            ],
            _owner=owner,
        )
        server.start()
        try:
            yield server
        finally:
            # Its data is deleted, so it need not write a checkpoint of every database.
            server.stop(signal.SIGQUIT)


def _create_cluster(programs: Path, folder: Path, owner: Owner, password: str) -> None:
    password_file = folder / "password"
    password_file.touch(0o600)
    password_file.write_text(password)
    owner.give(password_file)
    command: list[str | Path] = [
        *(programs / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", password_file),
        # The same everywhere, whatever the locale of the machine.
        *("-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"),
    ]
    with start_guarded(command, folder, owner) as guard:
        status = guard.wait(START_SECONDS)
    if status != 0:
        log = (folder / "log").read_text(errors="replace")
        raise PostgresError(f"initdb failed with status {status}: {log}")
    password_file.unlink()


def start_guarded(
    command: Sequence[str | Path], folder: Path, owner: Owner
) -> subprocess.Popen[bytes]:
    """Start it in a separate session, so that Ctrl-C does not reach it."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            [
                *(sys.executable, "-I", "-S", GUARD),
                *(folder, str(owner.user_id), str(owner.group_id), *command),
            ],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run one for the whole session: each test creates a separate database."""
    with run_postgres(durable=False, max_connections=300) as server:
        yield server
