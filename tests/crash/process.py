"""A relay process for tests that kill it."""

import json
import signal
import subprocess
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from tests.e2e.conftest import READY_SECONDS, RelayProcess, await_that

DEATH_SECONDS: Final = 60.0


@dataclass
class CrashingRelay(RelayProcess):
    """A `RelayProcess` with a failpoint that may die.

    Attributes:
        failpoint: where it kills itself, `<name>` or `<name>:<n>`; None nowhere.
    """

    failpoint: str | None = None

    def environment(self) -> dict[str, str]:
        armed = {} if self.failpoint is None else {"RELAY_FAILPOINT": self.failpoint}
        return super().environment() | armed

    @property
    def database(self) -> Path:
        return self.folder / "relay.db"

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def health(self) -> dict[str, Any]:
        """Get /health; RuntimeError once it has died."""
        if not self.is_alive:
            raise RuntimeError(f"the relay ended: {self.log}")
        _, health = self._get("/health")
        return health

    def launch(self, failpoint: str | None = None) -> None:
        """Start it and do not wait."""
        self.failpoint = failpoint
        super().launch()

    def restart(self, failpoint: str | None = None) -> None:
        """Start it and wait until it accepts events."""
        self.launch(failpoint)
        await_that(self.is_up, READY_SECONDS, lambda: self.log)

    def kill(self) -> None:
        """End it at once."""
        if self.process is None:
            raise RuntimeError("it is not running")
        self.process.send_signal(signal.SIGKILL)
        self.await_death()

    def await_death(self) -> None:
        """Wait until SIGKILL has ended it."""
        if self.process is None:
            raise RuntimeError("it is not running")
        try:
            code = self.process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.failpoint} was not reached: {self.log}") from None
        self.process = None
        assert code == -signal.SIGKILL, f"it ended by itself with {code}: {self.log}"

    def is_up(self) -> bool:
        if not self.is_alive:
            raise RuntimeError(f"the relay ended: {self.log}")
        try:
            status, _ = self._get("/health/ready")
        except (OSError, HTTPException):
            return False
        return status == HTTPStatus.OK

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        # Polled every few milliseconds while a relay starts: httpx would read all CAs each time.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEATH_SECONDS)
        with closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
