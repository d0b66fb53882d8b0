"""A relay as a process of its own, called over HTTP."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from app.auth.tokens import mint_token
from app.auth.webhook_keys import generate_symmetric_secret
from app.cli.client.signing import make_body, sign_body
from app.demo.local_supabase import LocalSupabase
from tests.forked import RELAY, ForkedProcess, fork_relay, run_forked_relay
from tests.loopback import NO_TLS

JWT_SECRET: Final = "the secret of the operators' tokens, long enough"
READY_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 60.0


@dataclass
class RelayProcess:
    """`relay serve` on a free port of loopback, which can be ended and started again.

    Attributes:
        settings: environment variables of the relay, beside those set here.
        folder: where it runs and keeps its store.
        prefix: of its command line.
        is_forked: without the imports of a start, see `tests.forked`.
    """

    settings: Mapping[str, str]
    folder: Path
    secret: str = field(default_factory=generate_symmetric_secret)
    port: int = field(default_factory=lambda: find_free_port())
    prefix: tuple[str, ...] = ()
    is_forked: bool = True
    process: ForkedProcess | subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "relay.log").read_text()

    def environment(self) -> dict[str, str]:
        """Return the environment in which the command works with this relay."""
        return {
            "PATH": os.environ["PATH"],
            "RELAY_URL": self.url,
            "WEBHOOK_SECRETS": self.secret,
            "JWT_SECRET": JWT_SECRET,
            "STORE_URL": f"sqlite:///{self.folder / 'relay.db'}",
            "PORT": str(self.port),
            **self.settings,
        }

    def start(self) -> None:
        """Start it and wait until it accepts events."""
        self.launch()
        await_that(lambda: self._is_ready(), READY_SECONDS, lambda: self.log)

    def launch(self) -> None:
        """Start it without waiting."""
        environment = self.environment()
        with (self.folder / "relay.log").open("ab") as log:
            if self.is_forked:
                self.process = fork_relay(
                    "serve", folder=self.folder, environment=environment, stdout=log, stderr=log
                )
            else:
                self.process = subprocess.Popen(  # noqa: S603
                    [*self.prefix, RELAY, "serve"], cwd=self.folder, env=environment, stderr=log
                )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            raise RuntimeError("it is not running")
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the relay ended: {self.log}")
        try:
            return httpx.get(f"{self.url}/health/ready", trust_env=False, verify=NO_TLS).is_success
        except httpx.TransportError:
            return False

    def run(self, *arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command with the relay's environment."""
        return run_forked_relay(
            *arguments,
            folder=self.folder,
            environment=self.environment() | {"COLUMNS": "200"},
            standard_input=standard_input,
        )

    def post(
        self, event_type: str, data: dict[str, str], *, timestamp: str | None = None, wait: int = 30
    ) -> httpx.Response:
        body = make_body(event_type, data, timestamp)
        return self.post_body(body, sign_body(self.secret, body, wait_seconds=wait or None))

    def post_body(
        self, body: bytes, headers: Mapping[str, str], path: str = "/webhooks"
    ) -> httpx.Response:
        return httpx.post(
            f"{self.url}{path}",
            content=body,
            headers=dict(headers),
            trust_env=False,
            verify=NO_TLS,
            timeout=100,
        )

    def operator(self, *scopes: str) -> httpx.Client:
        token = mint_token(
            {"sub": "ops", "scope": " ".join(scopes), "exp": int(time.time()) + 600},
            secret=JWT_SECRET,
        )
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            verify=NO_TLS,
        )

    def health(self) -> dict[str, Any]:
        health: dict[str, Any] = httpx.get(
            f"{self.url}/health", trust_env=False, verify=NO_TLS
        ).json()
        return health

    def await_settled(self) -> None:
        """Wait until no entity is pending."""
        await_that(
            lambda: self.health()["backlog"]["pending"] == 0,
            SETTLE_SECONDS,
            lambda: f"{self.health()} {self.log}",
        )


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_that(
    condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Wait until a condition holds, at most so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come about in {seconds} s: {explain()}")
        time.sleep(0.01)


RelayMaker = Callable[..., RelayProcess]


@contextmanager
def run_relays(folder: Path) -> Iterator[RelayMaker]:
    """Give a function that starts relays, which end with the block."""
    with ExitStack() as stack:

        def make(**settings: str) -> RelayProcess:
            own = folder / f"relay-{len(list(folder.iterdir()))}"
            own.mkdir()
            relay = RelayProcess(settings, own)
            stack.callback(lambda: relay.process is None or relay.stop(signal.SIGKILL))
            relay.start()
            return relay

        yield make


@pytest.fixture
def make_relay(tmp_path: Path) -> Iterator[RelayMaker]:
    """Start relays that end with the test."""
    with run_relays(tmp_path) as make:
        yield make


@pytest.fixture
def own_relay(make_relay: RelayMaker, local_supabase: LocalSupabase) -> RelayProcess:
    """A relay that writes to the local Supabase and that the test may end."""
    return make_relay(
        SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key
    )


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, local_supabase: LocalSupabase
) -> Iterator[RelayProcess]:
    """A relay that writes to the local Supabase, shared by a file of tests: use ids of your own."""
    with run_relays(tmp_path_factory.mktemp("relays")) as make:
        yield make(SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key)


def strip_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
