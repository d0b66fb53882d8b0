"""The documents' senders, against a server that confirms something else."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.wire import WRONG_SUCCESSES, Wire, confirm, run_wire
from tests.docs.conftest import SECRET
from tests.docs.test_integrate import PYTHON, USER, run


@pytest.fixture
def wire() -> Iterator[Wire]:
    with run_wire() as wire:
        yield wire


def make_environment(wire: Wire) -> dict[str, str]:
    return {"RELAY_URL": wire.url, "RELAY_WEBHOOK_SECRET": SECRET, "NO_PROXY": "127.0.0.1"}


@pytest.mark.parametrize("name", WRONG_SUCCESSES)
def test_python_snippet_without_confirmation_sends_again(
    wire: Wire, name: str, tmp_path: Path
) -> None:
    wire.answers = [WRONG_SUCCESSES[name], WRONG_SUCCESSES[name], confirm]
    command: list[str | Path] = [sys.executable, "-I", "-W", "error", PYTHON, "user.created", *USER]
    done = run(command, environment=make_environment(wire), folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "accepted\n", "")
    assert len({(asked.headers["webhook-id"], asked.content) for asked in wire.asked}) == 1
    assert len({asked.client_port for asked in wire.asked}) == 3


def test_python_snippet_never_confirmed_names_event_and_response(
    wire: Wire, tmp_path: Path
) -> None:
    wire.answers = [WRONG_SUCCESSES["of health"]]
    command: list[str | Path] = [sys.executable, "-I", PYTHON, "user.created", *USER]
    done = run(command, environment=make_environment(wire), folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    for part in (wire.asked[0].headers["webhook-id"], '200 b\'{"status": "ok"}', "proxy"):
        assert part in done.stderr
    assert len(wire.asked) == 4
