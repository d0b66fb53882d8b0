"""Notifications between replicas, by PostgreSQL's LISTEN and NOTIFY.

A notification only saves a wait: replicas that miss one find its cause by polling. Behind a
transaction pooler notifications never arrive, and replicas only poll.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import psycopg
from sqlalchemy import Connection, func, select
from sqlalchemy.engine import URL

from app.domain.degradation import Degradation
from app.store.engine import CONNECT_ARGUMENTS

logger = logging.getLogger(__name__)

_CHANNEL: Final = "relay"
EVENT: Final = "event"
"""Entities are due."""
REPLAY: Final = "replay"
"""A replay was begun."""
LEASE: Final = "lease"
"""The lease is free."""
SETTLED: Final = "settled"
"""Outcomes were recorded."""
# A listener sends it to itself, to know that it hears.
_HELLO: Final = "hello:"
_HELLO_SECONDS: Final = 3.0
_POOLER_RETRY_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 0.5
_POOLER_TRIES: Final = 5


class Pooler(StrEnum):
    """Whether a transaction pooler stands before PostgreSQL; with `auto` the relay finds out."""

    AUTO = "auto"
    TRANSACTION = "transaction"


Handler = Callable[[str], None]
"""Receives the payload of a notification, in the event loop."""


def notify(connection: Connection, payload: str) -> None:
    """Notify all replicas, this one included, when the transaction commits; no-op for SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(_CHANNEL, payload)))


def is_behind_pooler(url: URL) -> bool:
    """Tell whether other clients use a connection's server session between its transactions.

    It leaves nothing in any session. Under load it may miss a pooler.
    """
    with _connect(url) as one, _connect(url) as other:
        for _ in range(_POOLER_TRIES):
            pid = _read_server_pid(one)
            with other.transaction():
                # Poolers reuse the latest session, or all in turn.
                if _read_server_pid(other) == pid or _read_server_pid(one) != pid:
                    return True
    return False


class Listener:
    """Listens in a thread, and reconnects whenever its connection ends.

    Attributes:
        is_listening: whether notifications arrive at the moment.
    """

    def __init__(self, url: URL, handler: Handler) -> None:
        self._url = url
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._outage = Degradation(logger, "replicas notify each other again")
        self.is_listening = False
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            retry_seconds = _RETRY_SECONDS
            try:
                self._listen()
                if not self._stopping.is_set():
                    logger.info(
                        "a pooler stands before the store: replicas poll four times a second"
                    )
                    retry_seconds = _POOLER_RETRY_SECONDS
            except psycopg.Error as error:
                self._outage.note(
                    f"notifications between replicas are lost ({type(error).__name__}):"
                    " replicas poll four times a second",
                    cause=type(error),
                )
            self.is_listening = False
            self._stopping.wait(retry_seconds)

    def _listen(self) -> None:
        """Listen until closed; return early if nothing can be heard."""
        if is_behind_pooler(self._url):
            return
        with _connect(self._url) as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            # Unique: behind an unnoticed pooler, two listeners may be given the same session.
            hello = f"{_HELLO}{secrets.token_hex(8)}"
            with _connect(self._url) as speaker:
                speaker.execute(f"NOTIFY {_CHANNEL}, '{hello}'")
            hello_until = time.monotonic() + _HELLO_SECONDS
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=_WAIT_SECONDS, stop_after=100):
                    if notification.payload == hello:
                        logger.info("replicas notify each other")
                        self._outage.end()
                        self.is_listening = True
                        # Earlier notifications were not heard, so everything is checked once.
                        self._handle(EVENT, LEASE, REPLAY, SETTLED)
                    self._handle(notification.payload)
                if not self.is_listening and time.monotonic() > hello_until:
                    return

    def _handle(self, *payloads: str) -> None:
        for payload in payloads:
            try:
                self._loop.call_soon_threadsafe(self._handler, payload)
            except RuntimeError:
                return  # The event loop has ended, and this thread is about to.


def _read_server_pid(connection: "psycopg.Connection[Any]") -> object:
    return connection.execute("SELECT pg_backend_pid()").fetchone()


def _connect(url: URL) -> "psycopg.Connection[Any]":
    return psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        **CONNECT_ARGUMENTS,
    )
