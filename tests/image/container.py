"""A container of the image, run by runc as an orchestrator with strict rules would run it.

The root file system is read-only, there are no capabilities and no new privileges, /tmp is in
memory, and only /data is writable. The relay is PID 1. The network is that of the machine.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.e2e.conftest import find_free_port
from tests.image.building import Image
from tests.loopback import NO_TLS

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECONDS: Final = 90.0
_PRIVATE: Final = ["nosuid", "nodev", "noexec"]


@dataclass
class Container:
    """One container.

    Attributes:
        data: the volume at /data.
        user: uid and gid; None for those of the image.
        command: after the entry point; None for that of the image.
        environment: besides that of the image.
    """

    image: Image
    data: Path
    user: tuple[int, int] | None = None
    command: Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=find_free_port)
    name: str = field(default_factory=lambda: f"relay-{os.getpid()}-{time.monotonic_ns()}")
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bundle(self) -> Path:
        return self.image.folder / self.name

    @property
    def log(self) -> str:
        return (self.bundle / "log").read_text()

    def start(self) -> None:
        """Start it without waiting."""
        self.bundle.mkdir(exist_ok=True)
        (self.bundle / "config.json").write_text(json.dumps(self._configure()))
        with (self.bundle / "log").open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [*self._runc(), "run", "--bundle", str(self.bundle), self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self) -> int:
        """Run it until it ends, and return its exit code."""
        self.start()
        return self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(SECONDS)

    def stop(self) -> int:
        """Send the image's stop signal, and return the exit code."""
        subprocess.run([*self._runc(), "kill", self.name, "TERM"], check=True, timeout=SECONDS)  # noqa: S603
        return self.wait()

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the running container, as its health check does."""
        return subprocess.run(  # noqa: S603
            [*self._runc(), "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def end(self) -> None:
        """Kill it if it runs."""
        if self.process is not None and self.process.poll() is None:
            subprocess.run([*self._runc(), "kill", self.name, "KILL"], check=False)  # noqa: S603
            self.process.wait(SECONDS)

    def await_that(self, has_come: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not has_come():
            assert self.process is not None
            assert self.process.poll() is None, f"it ended: {self.log}"
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def is_ready(self) -> bool:
        try:
            return self.get("/health/ready").is_success
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", trust_env=False, verify=NO_TLS)

    def _runc(self) -> tuple[str, ...]:
        return ("runc", "--root", str(self.image.folder / "runc"))

    def _configure(self) -> Mapping[str, Any]:
        """Return the runtime's configuration, from that of the image."""
        config = self.image.config
        uid, gid = self.user or map(int, config["User"].split(":"))
        environment = {
            "PORT": str(self.port),
            "SUPABASE_URL": "http://127.0.0.1:9",
            "SUPABASE_SECRET_KEY": "sb_secret_test",
            "WEBHOOK_SECRETS": SECRET,
            **self.environment,
        }
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.image.root), "readonly": True},
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": [*config["Entrypoint"], *(self.command or config["Cmd"])],
                "env": [*config["Env"], *(f"{n}={v}" for n, v in environment.items())],
                "cwd": config["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": _PRIVATE},  # noqa: S108
                {"destination": "/data", "source": str(self.data), "options": ["bind", "rw"]},
            ],
            "linux": {"namespaces": [{"type": each} for each in ("pid", "mount", "ipc")]},
        }
