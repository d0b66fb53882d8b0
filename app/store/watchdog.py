"""Ending waits for a database that neither answers nor goes away.

A paused or unreachable server answers nothing, not even that a statement took too long. The one
who waits for it sits in a system call; what ends that is to shut his socket.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

_TRY_SECONDS: Final = 3.0
_IS_NEW: Final = "is_new"


class Watchdog:
    """Shuts the sockets of connections that somebody has waited on for too long."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waits: dict[int, tuple[float, int]] = {}
        self._next_wait = 0
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="store-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def limit(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Let what is done with a connection take no longer; then it fails as if cut off."""
        driver = connection.connection.driver_connection
        with self._limit(driver, seconds):
            yield

    def try_before_use(self, engine: Engine) -> None:
        """Have a pooled connection tried, in bounded time, each time before it is handed out.

        One that the server has closed meanwhile (a failover, a database that went to sleep) is
        replaced. `pool_pre_ping` does so too, and waits for an answer for ever.
        """

        def note_new(_: Any, record: ConnectionPoolEntry) -> None:
            record.info[_IS_NEW] = True

        def try_it(driver: Any, record: ConnectionPoolEntry, _: object) -> None:
            if record.info.pop(_IS_NEW, False):
                return
            try:
                with self._limit(driver, _TRY_SECONDS):
                    engine.dialect.do_ping(driver)
            except psycopg.Error as error:
                # What ended this one has most likely ended them all.
                raise InvalidatePoolError from error

        event.listen(engine, "connect", note_new)
        event.listen(engine, "checkout", try_it)

    @contextmanager
    def _limit(self, driver: Any, seconds: float) -> Iterator[None]:
        if not isinstance(driver, psycopg.Connection):
            yield
            return
        with self._condition:
            wait = self._next_wait = self._next_wait + 1
            self._waits[wait] = (time.monotonic() + seconds, driver.fileno())
            self._condition.notify()
        try:
            yield
        finally:
            # Before anybody can close the connection and its number is given to another file.
            with self._condition:
                self._waits.pop(wait, None)

    def close(self) -> None:
        """End the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._condition:
            while not self._closed:
                now = time.monotonic()
                for wait, (deadline, descriptor) in list(self._waits.items()):
                    if deadline <= now:
                        del self._waits[wait]
                        _shut(descriptor)
                # Deadlines are seconds away and rarely reached: looking twice a second will do.
                self._condition.wait(0.5 if self._waits else None)


def _shut(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
