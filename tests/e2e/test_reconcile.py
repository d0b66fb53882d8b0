"""`relay reconcile` at a terminal."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import RelayMaker, RelayProcess, find_free_port
from tests.e2e.terminal import Terminal


@pytest.fixture
def relay_without_supabase(make_relay: RelayMaker) -> RelayProcess:
    return make_relay(
        SUPABASE_URL=f"http://127.0.0.1:{find_free_port()}", SUPABASE_SECRET_KEY="sb_secret_x"
    )


def write_snapshot(path: Path) -> None:
    user_id = str(uuid.uuid4())
    lines: list[object] = [
        {"snapshot_at": datetime.now(UTC).isoformat()},
        {"kind": "user", "data": {"id": user_id, "email": "a@example.com", "username": "a"}},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.mark.parametrize("columns", [80, 120])
def test_repair_at_a_terminal_asks_for_confirmation(
    relay_without_supabase: RelayProcess, columns: int
) -> None:
    relay = relay_without_supabase
    write_snapshot(relay.folder / "snapshot.ndjson")
    command = ["reconcile", "--source-file", "snapshot.ndjson", "--repair"]
    with Terminal(relay, command, columns) as terminal:
        terminal.await_shown("Repair? [y/N]")
        assert "The repair of 1 difference includes 0 removals." in terminal.shown
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "Nothing is repaired." in terminal.shown
    with Terminal(relay, command, columns) as terminal:
        terminal.await_shown("Repair? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "1 event sent. Second comparison:" in terminal.shown
        assert "The relay equals the source: 1 row." in terminal.shown
    assert max(map(len, terminal.shown.splitlines())) <= 80
