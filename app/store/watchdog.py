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

import psycopg
from sqlalchemy import Connection


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
