"""Replicas telling each other that there is something to do, by PostgreSQL's LISTEN and NOTIFY.

A signal only saves a wait: whoever misses one finds out by looking. Behind a transaction pooler
there is nothing to listen on, and looking is all there is.
"""

import asyncio
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

import psycopg
from sqlalchemy import func, select
from sqlalchemy.engine import URL

from app.domain.entities import EntityRef
from app.store.engine import CONNECT_ARGUMENTS
from app.store.write_session import WriteSession

logger = logging.getLogger(__name__)

CHANNEL: Final = "relay"
EVENT: Final = "event"
"""Something is to be dispatched."""
REPLAY: Final = "replay"
"""Something is to be replayed."""
LEASE: Final = "lease"
"""Nobody dispatches."""
_SETTLED: Final = "settled:"
# PostgreSQL takes payloads shorter than 8,000 bytes.
_PAYLOAD_BYTES: Final = 7900
# What a listener tells itself, to know that it hears.
_HELLO: Final = "hello:"
_PROBE_SECONDS: Final = 3.0
_PROBE_AGAIN_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 0.5
_POOLER_TRIES: Final = 5
_POOLER_FOUND: Final = "a pooler stands before the store: replicas look four times a second"


class Pooler(StrEnum):
    """Whether a transaction pooler stands before PostgreSQL; `auto` finds out by itself."""

    AUTO = "auto"
    TRANSACTION = "transaction"


Handler = Callable[[str], None]
"""Takes the payload of a signal, in the event loop."""


def mark_of(ref: EntityRef) -> str:
    """Give eight characters that stand for an entity; two entities may share them."""
    return f"{zlib.crc32('/'.join(ref).encode()):08x}"


def write_settled(refs: Iterable[EntityRef]) -> str:
    """Write the payload that tells what was settled; of too many, that anything may be."""
    payload = _SETTLED + ",".join(mark_of(ref) for ref in refs)
    return payload if len(payload) <= _PAYLOAD_BYTES else _SETTLED


def read_settled(payload: str) -> frozenset[str] | None:
    """Give the marks of what was settled, none for anything; None where it tells another thing."""
    if not payload.startswith(_SETTLED):
        return None
    return frozenset(filter(None, payload.removeprefix(_SETTLED).split(",")))


def notify(session: WriteSession, payload: str) -> None:
    """Tell all replicas something when the transaction commits."""
    session.connection.execute(select(func.pg_notify(CHANNEL, payload)))


def finds_pooler(url: URL) -> bool:
    """Find out whether others are given a connection's session between its transactions.

    Nothing is left in any session. Under load a pooler may go unnoticed.
    """
    with _connect(url) as one, _connect(url) as other:
        for _ in range(_POOLER_TRIES):
            server = _read_server(one)
            with other.transaction():
                # A pooler gives the session that was used last, or each in turn.
                is_shared = _read_server(other) == server or _read_server(one) != server
            if is_shared:
                return True
    return False


class Listener:
    """Listens in a thread of its own, and begins anew whenever its connection ends.

    It counts as listening once it has heard itself.
    """

    def __init__(self, url: URL, handler: Handler) -> None:
        self._url = url
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._is_listening = False
        self._thread = threading.Thread(target=self._work, name="store-listener", daemon=True)
        self._thread.start()

    @property
    def is_listening(self) -> bool:
        """Whether signals arrive at the moment."""
        return self._is_listening

    async def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_seconds = self._listen()
            except psycopg.Error as error:
                if self._is_listening:
                    logger.warning("signals between replicas are lost (%s)", type(error).__name__)
                wait_seconds = _RETRY_SECONDS
            self._is_listening = False
            self._stopping.wait(wait_seconds)

    def _listen(self) -> float:
        """Listen until told to stop, or until it turns out that nothing is heard here.

        Returns:
            How long to wait before another attempt.
        """
        if finds_pooler(self._url):
            logger.info(_POOLER_FOUND)
            return _PROBE_AGAIN_SECONDS
        with _connect(self._url) as connection:
            if self._hears(connection):
                return 0.0
        logger.info(_POOLER_FOUND)
        return _PROBE_AGAIN_SECONDS

    def _hears(self, connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
        """Listen until told to stop; False where it does not even hear itself."""
        connection.execute(f"LISTEN {CHANNEL}")
        # If there is a pooler all the same, nothing ever comes; or another's hello, when both were
        # given the same session. Hence one of its own.
        hello = f"{_HELLO}{secrets.token_hex(8)}"
        with _connect(self._url) as speaker:
            speaker.execute(f"NOTIFY {CHANNEL}, '{hello}'")
        deadline = time.monotonic() + _PROBE_SECONDS
        while not self._stopping.is_set():
            for signal in connection.notifies(timeout=_WAIT_SECONDS, stop_after=100):
                if signal.payload == hello:
                    logger.info("replicas wake each other")
                    self._is_listening = True
                    # What was signalled before was not heard: whoever waits looks once.
                    self._tell(EVENT, LEASE, REPLAY, _SETTLED)
                self._tell(signal.payload)
            if not self._is_listening and time.monotonic() > deadline:
                return False
        return True

    def _tell(self, *payloads: str) -> None:
        for payload in payloads:
            try:
                self._loop.call_soon_threadsafe(self._handler, payload)
            except RuntimeError:
                # The event loop has ended, and so will this.
                return


def _read_server(connection: "psycopg.Connection[tuple[object, ...]]") -> object:
    """Name the server's process, which stands for a session of it."""
    return connection.execute("SELECT pg_backend_pid()").fetchone()


def _connect(url: URL) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
        **CONNECT_ARGUMENTS,
    )
