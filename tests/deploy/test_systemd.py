"""deploy/systemd/relay.service is a unit that systemd accepts, and fits the relay's settings."""

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path
from typing import Final

import pytest

from app.settings import Settings
from tests.deploy.manifests import CLOSE_SECONDS, DEPLOY, SHUTDOWN_SECONDS

UNIT: Final = DEPLOY / "systemd" / "relay.service"


@pytest.fixture
def service() -> dict[str, str]:
    parser = RawConfigParser(strict=True, delimiters=("=",))
    # Names are told apart by their case.
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser["Service"])


def test_unit_is_accepted_by_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    # It complains about programs that do not exist.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/relay", "/bin/true"))
    done = subprocess.run(  # noqa: S603
        ["systemd-analyze", "verify", unit],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_gives_the_relay_its_time_its_files_and_its_folder(service: dict[str, str]) -> None:
    assert int(service["TimeoutStopSec"]) >= SHUTDOWN_SECONDS + CLOSE_SECONDS
    connections = Settings.model_fields["max_connections"].default
    assert int(service["LimitNOFILE"]) >= connections + 128
    folder = f"/var/lib/{service['StateDirectory']}"
    assert service["WorkingDirectory"] == folder
    assert service["Environment"] == f"STORE_URL=sqlite:///{folder}/relay.db"
    assert service["ExecStart"].endswith("/relay serve")
