"""A relay process under a flood: its memory, and senders that continue meanwhile."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from app.cli.client.signing import make_body, sign_body
from tests.e2e.conftest import RelayProcess

# Other processes take their share of the machine and of its disk.
ANSWER_SECONDS: Final = 10.0
# Nothing listens on this port: the relay runs without Supabase.
_SETTINGS: Final = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_SECRET_KEY": "sb_secret_test",
}
_SAMPLE_SECONDS: Final = 0.05
_EVENT_PAUSE_SECONDS: Final = 0.01
_EVENTS_BEFORE: Final = 20
_KIB_PER_MIB: Final = 1024


def make_event(secret: str) -> tuple[str, bytes, dict[str, str]]:
    """Make a new signed event: its id, body and headers."""
    event_id = f"evt_{uuid.uuid4().hex}"
    user = {"id": str(uuid.uuid4()), "email": "ada@example.com", "username": "ada"}
    body = make_body("user.updated", user)
    return event_id, body, sign_body(secret, body, event_id=event_id)


@dataclass
class FloodedRelay(RelayProcess):
    """A relay whose memory is known.

    Attributes:
        idle_mib: what was resident when it had received its first events.
    """

    idle_mib: float = 0.0

    def start(self) -> None:
        super().start()
        with make_senders(self) as senders:
            for sender in senders * _EVENTS_BEFORE:
                sender.send_event()
        self.idle_mib = self.read_mib("VmRSS")

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def read_mib(self, name: str) -> float:
        """Read a figure of its memory from the kernel."""
        (line,) = (
            line
            for line in self._find_kernel_file("status").read_text().splitlines()
            if line.startswith(f"{name}:")
        )
        return int(line.split()[1]) / _KIB_PER_MIB

    def forget_peak(self) -> None:
        """Have `VmHWM` begin again."""
        self._find_kernel_file("clear_refs").write_text("5")

    def _find_kernel_file(self, name: str) -> Path:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended by itself: {self.log}"
        return Path(f"/proc/{self.process.pid}/{name}")


@contextmanager
def run_relay(folder: Path, *prefix: str, **settings: str) -> Iterator[FloodedRelay]:
    """Run a relay in a folder, with `settings` beside its own, until the block ends."""
    relay = FloodedRelay(_SETTINGS | settings, folder, prefix=prefix, is_forked=False)
    try:
        relay.start()
        yield relay
    finally:
        relay.end()


@dataclass
class Sender:
    """Sends one signed event after another, and notes what was not answered as it should be.

    Attributes:
        relay: receives them.
        is_keeping_alive: whether all use one connection; else each has one of its own.
        answered: how many were accepted in time.
        slowest_seconds: the longest wait for an answer.
        retries: how many were sent again.
        failures: what became of each other one.
    """

    relay: RelayProcess
    is_keeping_alive: bool
    answered: int = 0
    slowest_seconds: float = 0.0
    retries: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection = HTTPConnection("127.0.0.1", self.relay.port, timeout=ANSWER_SECONDS)

    def run(self, end: threading.Event) -> None:
        """Send until the end."""
        while not end.wait(_EVENT_PAUSE_SECONDS):
            self.send_event()

    def close(self) -> None:
        self._connection.close()

    def send_event(self) -> None:
        """Send one event; a failure is noted, and the next one is sent on a new connection.

        A new connection may be closed to make room before its request arrives. So an event on one
        is sent again, as every sender does, as long as there is time. One kept alive never is.
        """
        started = time.monotonic()
        event = make_event(self.relay.secret)
        while True:
            try:
                self._send(*event)
                break
            except (OSError, HTTPException, AssertionError) as error:
                self.close()
                seconds = time.monotonic() - started
                is_broken = not isinstance(error, AssertionError)
                if self.is_keeping_alive or not is_broken or seconds >= ANSWER_SECONDS:
                    self.failures.append(f"after {seconds:.3f} s: {error!r}")
                    return
                self.retries += 1
        self.answered += 1
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        if not self.is_keeping_alive:
            self.close()

    def _send(self, event_id: str, body: bytes, fields: dict[str, str]) -> None:
        self._connection.request("POST", "/webhooks", body, fields)
        response = self._connection.getresponse()
        document = json.loads(response.read())
        assert response.status in (200, 202), document
        assert document["event_id"] == event_id


@contextmanager
def make_senders(relay: RelayProcess) -> Iterator[tuple[Sender, Sender]]:
    """Return a sender that keeps its connection alive, and one that does not."""
    kept_alive, fresh = Sender(relay, is_keeping_alive=True), Sender(relay, is_keeping_alive=False)
    with closing(kept_alive), closing(fresh):
        yield kept_alive, fresh


@dataclass
class Flood:
    """What one flood did to a relay.

    Attributes:
        relay: under it.
        kept_alive: sends on one connection.
        fresh: sends each event on a connection of its own.
        before_mib: the relay's resident memory before.
        peak_mib: the most of it during the flood.
    """

    relay: FloodedRelay
    kept_alive: Sender
    fresh: Sender
    before_mib: float
    peak_mib: float = 0.0

    @property
    def growth_mib(self) -> float:
        """How much more than an idle relay's the memory was."""
        return self.peak_mib - self.relay.idle_mib

    def describe(self) -> str:
        """Say it in one line."""
        kept_alive, fresh = self.kept_alive, self.fresh
        return (
            f"RSS {self.before_mib:.0f} -> {self.peak_mib:.0f} MiB; events answered: "
            f"{kept_alive.answered} kept alive, {fresh.answered} fresh; slowest: "
            f"{kept_alive.slowest_seconds:.2f} s, {fresh.slowest_seconds:.2f} s; "
            f"sent again: {fresh.retries}; failed: "
            f"{len(kept_alive.failures)}, {len(fresh.failures)}"
        )

    def sample(self, end: threading.Event) -> None:
        """Note the memory until the end."""
        while not end.wait(_SAMPLE_SECONDS):
            self.peak_mib = max(self.peak_mib, self.relay.read_mib("VmRSS"))


@contextmanager
def watch(relay: FloodedRelay) -> Iterator[Flood]:
    """Have two senders send, and the memory sampled, while the block floods a relay."""
    end = threading.Event()
    with make_senders(relay) as senders:
        relay.forget_peak()
        flood = Flood(relay, *senders, relay.read_mib("VmRSS"))
        with ExitStack() as stack:
            for job in (flood.sample, flood.kept_alive.run, flood.fresh.run):
                thread = threading.Thread(target=job, args=(end,))
                thread.start()
                stack.callback(thread.join)
            stack.callback(end.set)
            yield flood
        flood.peak_mib = max(flood.peak_mib, relay.read_mib("VmHWM"))
        for sender in senders:
            sender.send_event()
