"""A relay ends soon and with code 0 after SIGTERM or SIGINT at any moment."""

import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from app.cli.client.signing import make_body, sign_body
from app.store.schema_upgrade import upgrade_store
from tests.e2e.conftest import READY_SECONDS, RelayProcess, await_that

_UNSHARE: Final = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
_END_SECONDS: Final = 15.0

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")


def can_unshare() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


needs_unshare = pytest.mark.skipif(not can_unshare(), reason="may not make a PID namespace")


class StoppedRelay(RelayProcess):
    """`relay serve`, to be stopped, with the command that starts it."""

    pid = 0

    def launch(self) -> None:
        """Start it, and find its process if it is PID 1 of a namespace."""
        super().launch()
        assert self.process is not None
        self.pid = self.process.pid
        if self.prefix:
            parent = psutil.Process(self.process.pid)
            await_that(lambda: bool(parent.children()), READY_SECONDS)
            self.pid = parent.children()[0].pid

    @property
    def database(self) -> Path:
        return self.folder / "relay.db"

    def read(self, name: str) -> str:
        """Read a file about the process in /proc."""
        assert self.process is not None
        assert self.process.poll() is None, f"it ended by itself: {self.log}"
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def await_moment(self, has_come: Callable[["StoppedRelay"], bool]) -> None:
        await_that(lambda: has_come(self), READY_SECONDS, lambda: self.log)

    def signal(self, number: signal.Signals) -> None:
        psutil.Process(self.pid).send_signal(number)

    def await_end(self) -> int:
        assert self.process is not None
        return self.process.wait(_END_SECONDS)


@pytest.fixture
def hanging_supabase() -> Iterator[str]:
    """A server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def relay(tmp_path: Path, hanging_supabase: str) -> Iterator[StoppedRelay]:
    """A relay that is not started."""
    settings = {"SUPABASE_URL": hanging_supabase, "SUPABASE_SECRET_KEY": "sb_secret_test"}
    relay = StoppedRelay(settings, tmp_path, is_forked=False)
    yield relay
    if relay.process is not None:
        relay.process.kill()
        relay.process.wait()


def has_handler(relay: StoppedRelay) -> bool:
    # SIGTERM's is set last.
    caught = next((line for line in relay.read("status").splitlines() if "SigCgt" in line), "0")
    return bool(int(caught.split()[-1], 16) & 1 << (signal.SIGTERM - 1))


def is_importing(relay: StoppedRelay) -> bool:
    return "pydantic_core" in relay.read("maps")


def has_its_store_open(relay: StoppedRelay) -> bool:
    try:
        files = list(Path(f"/proc/{relay.pid}/fd").iterdir())
        return any(os.path.realpath(file) == str(relay.database) for file in files)
    except FileNotFoundError:
        return False  # One was closed in the meantime.


def is_starting_its_server(relay: StoppedRelay) -> bool:
    return "Started server process" in relay.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("prefix", [(), pytest.param(_UNSHARE, marks=needs_unshare)])
@pytest.mark.parametrize("has_come", [has_handler, is_importing])
def test_relay_stopped_during_its_imports_ends_at_once(
    relay: StoppedRelay,
    has_come: Callable[[StoppedRelay], bool],
    prefix: tuple[str, ...],
    number: signal.Signals,
) -> None:
    relay.prefix = prefix
    relay.launch()
    relay.await_moment(has_come)
    relay.signal(number)
    assert relay.await_end() == 0
    assert relay.log == ""
    assert not relay.database.exists()


@pytest.mark.parametrize("prefix", [(), pytest.param(_UNSHARE, marks=needs_unshare)])
def test_relay_stopped_while_it_waits_for_its_store_ends_at_once(
    relay: StoppedRelay, prefix: tuple[str, ...]
) -> None:
    upgrade_store(f"sqlite:///{relay.database}")
    relay.prefix = prefix
    with closing(sqlite3.connect(relay.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        relay.launch()
        relay.await_moment(has_its_store_open)
        started = time.monotonic()
        relay.signal(signal.SIGTERM)
        assert relay.await_end() == 0
        # A call of SQLite waits for 5 seconds, and no signal interrupts it.
        assert time.monotonic() - started < 3
    assert relay.log == ""


def test_relay_stopped_in_the_middle_of_a_migration_ends_at_once_and_can_start_again(
    relay: StoppedRelay,
) -> None:
    settings, relay.settings = (
        relay.settings,
        {
            **relay.settings,
            "RELAY_FAILPOINT": "in-migration:1:stop",
        },
    )
    relay.launch()
    relay.await_moment(lambda relay: "T (stopped)" in relay.read("status"))
    relay.signal(signal.SIGTERM)
    relay.signal(signal.SIGCONT)
    assert relay.await_end() == 0
    assert "listening" not in relay.log
    relay.settings = settings
    relay.start()


@pytest.mark.parametrize("prefix", [(), pytest.param(_UNSHARE, marks=needs_unshare)])
def test_relay_stopped_while_its_server_starts_ends(
    relay: StoppedRelay, prefix: tuple[str, ...]
) -> None:
    relay.prefix = prefix
    relay.launch()
    relay.await_moment(is_starting_its_server)
    relay.signal(signal.SIGTERM)
    assert relay.await_end() == 0


@pytest.mark.parametrize("prefix", [(), pytest.param(_UNSHARE, marks=needs_unshare)])
def test_relay_stopped_answers_waiting_senders_at_once_and_bounds_the_rest(
    relay: StoppedRelay, prefix: tuple[str, ...]
) -> None:
    relay.prefix = prefix
    relay.settings = {**relay.settings, "SHUTDOWN_SECONDS": "4"}
    relay.start()
    user = {"id": str(uuid.uuid4()), "email": "a@example.com", "username": "a"}
    body = make_body("user.created", user, None)
    headers = sign_body(relay.secret, body, wait_seconds=30)
    answers: list[tuple[float, httpx.Response]] = []

    def send_and_wait() -> None:
        response = relay.post_body(body, headers)
        answers.append((time.monotonic(), response))

    sender = threading.Thread(target=send_and_wait)
    sender.start()
    await_that(lambda: relay.health()["backlog"]["pending"] == 1, READY_SECONDS, lambda: relay.log)
    # Two requests are open: one to Supabase, and one that its sender does not finish.
    with socket.create_connection(("127.0.0.1", relay.port)) as unfinished:
        unfinished.sendall(
            b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n"
        )
        # The response comes on a connection that was made later.
        relay.health()
        started = time.monotonic()
        relay.signal(signal.SIGTERM)
        assert relay.await_end() == 0
        ended = time.monotonic()
    sender.join()
    ((answered, response),) = answers
    assert response.status_code == 202
    assert response.json() == {"event_id": headers["webhook-id"], "status": "accepted"}
    assert answered - started < 3
    # In sequence, they would take 8 seconds.
    assert ended - started < 7
    assert "the open batch was abandoned" in relay.log
    assert "cut short" not in relay.log


def test_relay_whose_store_hangs_is_ended_after_the_shutdown_time(relay: StoppedRelay) -> None:
    relay.settings = {**relay.settings, "SHUTDOWN_SECONDS": "1"}
    relay.start()
    with closing(sqlite3.connect(relay.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        body = make_body("trip.deleted", {"id": str(uuid.uuid4())}, None)
        head = "".join(f"{n}: {v}\r\n" for n, v in sign_body(relay.secret, body).items())
        with socket.create_connection(("127.0.0.1", relay.port)) as sender:
            sender.sendall(
                f"POST /webhooks HTTP/1.1\r\nHost: relay\r\n{head}"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            relay.health()
            relay.signal(signal.SIGTERM)
            assert relay.await_end() == 1
    assert "cut short" in relay.log
