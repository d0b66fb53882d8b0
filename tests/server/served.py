"""Serves a relay in a thread, with the protocol of `relay serve`."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app.api.application import Application, FastPath
from app.api.services import Services
from app.server.limits import Limits
from app.server.server import RelayServer
from tests.api.relay_harness import RelayStarter
from tests.server.raw_http import (
    PATIENCE_SECONDS,
    ObservedProtocol,
    RawConnection,
    await_that,
)


class Added(set[Any]):
    """A set that counts what was added: every task of the regular path is."""

    times = 0

    def add(self, element: Any) -> None:
        self.times += 1
        super().add(element)


@dataclass
class Served:
    """A relay that is being served.

    Attributes:
        app: the application.
        server: serves it.
        port: of loopback.
        starter: has its folder and clock.
        offered: whether each request that was offered to the fast path was accepted there.
        tasks: those that the regular path makes.
    """

    app: Application
    server: RelayServer
    port: int
    starter: RelayStarter
    offered: list[bool] = field(default_factory=list)
    tasks: Added = field(default_factory=Added)

    @property
    def taken(self) -> int:
        """How many requests took the fast path."""
        return sum(self.offered)

    @property
    def services(self) -> Services:
        return cast(Services, self.app.state.services)

    @property
    def connections(self) -> list[ObservedProtocol]:
        return cast(list[ObservedProtocol], list(self.server.server_state.connections))

    def open(self, *, receive_buffer_bytes: int | None = None) -> RawConnection:
        """Connect, and wait until the relay has accepted."""
        client = socket.socket()
        client.settimeout(PATIENCE_SECONDS)
        if receive_buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        client.connect(("127.0.0.1", self.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = client.getsockname()
        await_that(lambda: any(other.client == address for other in self.connections))
        (protocol,) = (other for other in self.connections if other.client == address)
        return RawConnection(client, protocol)

    @contextmanager
    def open_unaccepted(self) -> Iterator[RawConnection]:
        """Connect, whether or not the relay keeps the connection."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS) as client:
            yield RawConnection(client, None)

    def find_bodies(self, event_id: str) -> list[str]:
        """Give what is stored under an id, by a connection of one's own."""
        with closing(sqlite3.connect(self.starter.folder / "relay.db")) as connection:
            rows = connection.execute("SELECT data FROM events WHERE event_id = ?", (event_id,))
            return [data for (data,) in rows]

    @contextmanager
    def hold_store(self) -> Iterator[None]:
        """Let nothing be committed: another process is writing to the file."""
        file = self.starter.folder / "relay.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def count(self) -> dict[str, float]:
        """Read the counters of events and rejections, by receipt and code."""
        return {
            next(iter(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.read_metrics())
            for sample in family.samples
            if sample.name in ("relay_events_total", "relay_rejections_total")
        }

    def read_metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text

    def stop(self) -> None:
        """Begin to stop, as SIGTERM does."""
        self.server.should_exit = True


class Paths:
    """How many requests have taken each path since it was made."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._taken, self._tasks = served.taken, served.tasks.times

    @property
    def fast(self) -> int:
        return self._served.taken - self._taken

    @property
    def regular(self) -> int:
        return self._served.tasks.times - self._tasks


class _ObservedServer(RelayServer):
    protocol_class = ObservedProtocol


@contextmanager
def serve(
    starter: RelayStarter,
    *,
    limits: Limits | None = None,
    shutdown_seconds: int = 5,
    **changes: object,
) -> Iterator[Served]:
    """Serve a relay as `relay serve` does, with `changes` to its settings."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        app = starter.make_app(**changes)
        server = _ObservedServer(app, limits=limits or Limits(), shutdown_seconds=shutdown_seconds)
        served = Served(app, server, listener.getsockname()[1], starter)
        server.server_state.tasks = served.tasks
        app.try_fast_path = _record(app.try_fast_path, served.offered)
        thread = threading.Thread(target=server.run, args=([listener],), name="relay")
        thread.start()
        try:
            await_that(lambda: server.started or not thread.is_alive())
            yield served
        finally:
            served.stop()
            thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the relay did not stop"
        assert not server.server_state.connections


def _record(fast_path: FastPath, offered: list[bool]) -> FastPath:
    def try_fast_path(*arguments: Any) -> bool:
        is_accepted = fast_path(*arguments)
        offered.append(is_accepted)
        return is_accepted

    return try_fast_path
