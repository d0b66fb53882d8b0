"""A forked command behaves like one that was started by its command line."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.auth.webhook_keys import generate_symmetric_secret
from tests.e2e.conftest import RelayProcess
from tests.forked import run_forked_relay

UNREACHABLE = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_test"}
_JWT_SECRET = "a secret that is long enough for a token"


def test_forked_command_has_its_own_environment_folder_input_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=too short\n")
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200"}

    rejected = run_forked_relay(
        "token", "--scope", "events:read", folder=tmp_path, environment=environment
    )
    accepted = run_forked_relay(
        "token",
        *("--scope", "events:read"),
        folder=tmp_path,
        environment=environment | {"JWT_SECRET": _JWT_SECRET},
    )
    signed = run_forked_relay(
        *("send", "-", "--curl"),
        folder=tmp_path,
        environment=environment
        | {"JWT_SECRET": _JWT_SECRET, "WEBHOOK_SECRETS": generate_symmetric_secret()},
        standard_input="a body",
    )

    assert (rejected.returncode, rejected.stdout) == (2, "")
    assert "JWT_SECRET" in rejected.stderr
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout.count(".") == 2
    assert "--data-binary 'a body'" in signed.stdout


def test_forked_relay_that_is_killed_is_seen_by_every_thread_that_asks(tmp_path: Path) -> None:
    relay = RelayProcess(UNREACHABLE, tmp_path)
    relay.start()
    assert relay.process is not None
    process = relay.process

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(process.wait, 60) for _ in range(4)]
        process.kill()

    assert [each.result() for each in waiting] == [-signal.SIGKILL] * 4
    process.terminate()


def test_forked_relay_stops_gracefully(tmp_path: Path) -> None:
    relay = RelayProcess(UNREACHABLE, tmp_path)
    relay.start()
    assert relay.stop() == 0
    assert "listening on" in relay.log
