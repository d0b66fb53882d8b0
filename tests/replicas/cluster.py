"""Several relays on one PostgreSQL, before one Supabase that tells them apart."""

import asyncio
import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from app.auth.webhook_keys import generate_symmetric_secret
from tests.crash.backend import Backend, Delivery
from tests.crash.process import CrashingRelay
from tests.crash.scene import Scene
from tests.crash.supabase import serve_postgrest
from tests.e2e.conftest import await_that
from tests.fake_postgrest import FakePostgrest, is_write

TAKEOVER_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 0.004


@dataclass
class Replica(CrashingRelay):
    """One of the relays; its `apikey` is its name."""

    name: str = ""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"SUPABASE_SECRET_KEY": f"sb_secret_{self.name}"}

    def pause(self) -> None:
        """Stop it where it is."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it."""
        self._signal(signal.SIGCONT)

    @property
    def is_paused(self) -> bool:
        assert self.process is not None
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def await_pause(self) -> None:
        """Wait until its failpoint has stopped it."""
        await_that(lambda: self.is_paused, TAKEOVER_SECONDS, lambda: self.log)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@dataclass(frozen=True)
class Cluster(Scene):
    """A backend, a Supabase, and relays on one database.

    Attributes:
        store_url: of their database.
        replicas: all of them, running or not.
    """

    store_url: str = ""
    replicas: list[Replica] = field(default_factory=list)

    def query(self, statement: str) -> list[Any]:
        """Ask the database itself."""
        with psycopg.connect(self.store_url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def read_stored_ids(self) -> list[str]:
        return self._read_ids()

    def _read_ids(self) -> list[str]:
        return [id_ for (id_,) in self.query("SELECT event_id FROM events ORDER BY sequence")]

    def find_leader(self) -> Replica | None:
        """Return the replica that holds the lease, according to the database."""
        rows = self.query(
            "SELECT holder FROM lease"
            " WHERE expires_at > EXTRACT(EPOCH FROM clock_timestamp()) * 1000000"
        )
        pids = {int(holder.rpartition("/")[2]) for (holder,) in rows}
        for replica in self.replicas:
            if replica.process is not None and replica.process.pid in pids:
                return replica
        return None

    def await_leader(self, *others_than: Replica) -> Replica:
        """Wait until one leads that is none of these."""

        def leads() -> bool:
            leader = self.find_leader()
            return leader is not None and leader not in others_than

        await_that(leads, TAKEOVER_SECONDS)
        leader = self.find_leader()
        assert leader is not None
        return leader

    def standbys(self) -> list[Replica]:
        """Return the running replicas without the lease."""
        leader = self.await_leader()
        return [one for one in self.replicas if one is not leader and one.is_alive]

    def writers(self) -> set[str]:
        """Name the replicas whose writes Supabase has seen since this was asked last."""
        seen = {
            request.headers["apikey"].removeprefix("sb_secret_")
            for request in self.supabase.requests
            if is_write(request)
        }
        self.supabase.requests.clear()
        return seen

    @contextmanager
    def delivering(self, deliveries: Sequence[Delivery]) -> Iterator[None]:
        """Send events to all replicas, each its share, while the block runs and until they end."""
        running = [replica for replica in self.replicas if replica.is_alive]
        with ExitStack() as stack:
            for number, replica in enumerate(running):
                share = deliveries[number :: len(running)]
                stack.enter_context(self.backend.delivering(replica, share))
            yield

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send events to all replicas, each its share."""
        with self.delivering(deliveries):
            pass

    def release(self, gate: asyncio.Event) -> None:
        """Let go of what hangs at Supabase, which runs in a thread of its own."""
        # Its server wakes the loop ten times a second.
        gate.set()

    def await_settled(self) -> None:
        """Wait until nothing is pending."""
        await_that(
            lambda: self.query("SELECT count(*) FROM entities WHERE state = 'pending'") == [(0,)],
            SETTLE_SECONDS,
            lambda: self._tell(),
        )

    def _tell(self) -> str:
        rows = self.query("SELECT * FROM entities WHERE state = 'pending'")
        return f"{rows} {''.join(replica.log for replica in self.replicas)}"


@contextmanager
def open_cluster(
    folder: Path, store_url: str, count: int, *, seed: int = 1, **settings: str
) -> Iterator[Cluster]:
    """Set a scene of so many relays; none is started, and all end with the block."""
    pauses = random.Random(seed)  # noqa: S311 - pauses, not secrets
    supabase = FakePostgrest(has_foreign_keys=True)
    with (
        serve_postgrest(supabase, lambda: pauses.uniform(0, _LONGEST_PAUSE_SECONDS)) as url,
        ExitStack() as stack,
    ):
        environment = {"SUPABASE_URL": url, "STORE_URL": store_url, **settings}
        secret = generate_symmetric_secret()
        replicas = [
            _make_replica(folder / f"replica-{number}", environment, secret)
            for number in range(count)
        ]
        for replica in replicas:
            stack.callback(_end, replica)
        backend = Backend(random.Random(seed))  # noqa: S311
        yield Cluster(backend, replicas[0], supabase, store_url, replicas)


def start_all(replicas: Iterable[Replica]) -> None:
    """Start relays together and wait until all of them take events."""
    waiting = list(replicas)
    for replica in waiting:
        replica.launch()
    for replica in waiting:
        await_that(replica.is_up, 60, lambda one=replica: one.log)  # type: ignore[misc]


def _make_replica(folder: Path, environment: dict[str, str], secret: str) -> Replica:
    folder.mkdir()
    return Replica(environment, folder, secret=secret, name=folder.name)


def _end(replica: Replica) -> None:
    if replica.process is not None:
        replica.process.kill()
        replica.process.wait(60)
