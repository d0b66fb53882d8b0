"""Deadlines for PostgreSQL connections.

A paused or unreachable server does not respond at all, not even to say that a statement timed out.
A thread that waits for it is blocked in a system call; shutting its socket down ends that.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

_PING_SECONDS: Final = 3.0
_IS_NEW: Final = "is_new"
# Deadlines are seconds away and rarely pass.
_WATCH_SECONDS: Final = 0.5

_lock: Final = threading.Lock()
_deadlines: Final[dict[object, tuple[float, socket.socket]]] = {}


@contextmanager
def deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut the connection if the block takes longer, so that its query fails; no-op for SQLite."""
    driver = connection.connection.driver_connection
    if isinstance(driver, psycopg.Connection):
        with _cut_after(driver, seconds):
            yield
    else:
        yield


def enable_pre_ping(engine: Engine) -> None:
    """Test each pooled connection, in bounded time, before it is handed out.

    Connections that the server has closed meanwhile (a failover, a database that went to sleep) are
    replaced. SQLAlchemy's `pool_pre_ping` does the same and waits for a response for ever.
    """

    def mark_new(_: Any, record: ConnectionPoolEntry) -> None:
        record.info[_IS_NEW] = True

    def ping(driver: Any, record: ConnectionPoolEntry, _: object) -> None:
        # SQLAlchemy replaces a connection once and then gives up, with an error of its own.
        if record.info.pop(_IS_NEW, False):
            return
        try:
            with _cut_after(driver, _PING_SECONDS):
                engine.dialect.do_ping(driver)
        except psycopg.Error as error:
            # The cause has most likely ended every pooled connection.
            raise InvalidatePoolError from error

    event.listen(engine, "connect", mark_new)
    event.listen(engine, "checkout", ping)


@contextmanager
def _cut_after(driver: "psycopg.Connection[Any]", seconds: float) -> Iterator[None]:
    _start_watching()
    # A duplicate, so that the number cannot belong to another file when the deadline passes.
    with socket.socket(fileno=os.dup(driver.fileno())) as connection:
        key = object()
        with _lock:
            _deadlines[key] = (time.monotonic() + seconds, connection)
        try:
            yield
        finally:
            with _lock:
                _deadlines.pop(key, None)


@cache
def _start_watching() -> None:
    # One thread for all deadlines: a timer for each would start a thread for each commit.
    threading.Thread(target=_watch, name="store-deadlines", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(_WATCH_SECONDS)
        now = time.monotonic()
        with _lock:
            for passes_at, connection in _deadlines.values():
                if passes_at <= now:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
