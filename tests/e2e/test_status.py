"""`relay status` at a terminal, with real processes."""

import signal
import uuid

import pytest

from tests.e2e.conftest import RelayProcess
from tests.e2e.terminal import Terminal


@pytest.mark.parametrize("columns", [80, 120])
def test_status_at_a_terminal_fits_it(relay: RelayProcess, columns: int) -> None:
    user_id = str(uuid.uuid4())
    sent = relay.post("user.created", {"id": user_id, "email": user_id, "username": "ana"}).json()
    with Terminal(relay, ["status"], columns) as terminal:
        assert terminal.end() == 0
    lines = terminal.shown.splitlines()
    assert lines[0].startswith("OK  ")
    assert max(map(len, lines)) <= columns
    (line,) = (line for line in lines if sent["event_id"] in line)
    assert "applied     user.created" in line


def test_status_watched_through_a_restart_shows_it_and_ends_with_ctrl_c(
    own_relay: RelayProcess,
) -> None:
    with Terminal(own_relay, ["status", "--watch", "--interval", "0.1"], 120) as terminal:
        terminal.await_shown("OK  ")
        own_relay.stop()
        terminal.await_shown("UNREACHABLE  ")
        terminal.await_shown("No response since")
        own_relay.start()
        terminal.await_shown("Responds again since")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert "Traceback" not in terminal.shown
