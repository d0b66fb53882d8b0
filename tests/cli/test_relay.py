"""The command as a whole: completion, and what it takes to start."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.auth.tokens import Scope
from app.cli.relay import app
from app.domain.entities import EntityState, EventStatus, Kind
from app.domain.events import EventType
from tests.cli.conftest import RunCommand

RELAY = Path(sys.executable).with_name("relay")


def complete(line: str) -> list[str]:
    """Give what bash would offer after a line."""
    words = line.split(" ")
    done = subprocess.run(  # noqa: S603
        [RELAY],
        env={
            "PATH": os.environ["PATH"],
            "_RELAY_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("relay ev", ["events"]),
        ("relay rep", ["replay"]),
        ("relay events --status ", [*EventStatus]),
        ("relay replay --status ", [*EntityState]),
        ("relay events --type ", [*(f"{kind}.*" for kind in Kind), *EventType]),
        ("relay replay --type user.d", ["user.deleted"]),
        ("relay events --entity mem", ["membership/"]),
        ("relay token --scope ", [*Scope]),
        ("relay send trip.", ["trip.created", "trip.updated", "trip.deleted"]),
        ("relay send membership.deleted ", ["trip_id=", "user_id="]),
        ("relay send membership.created status=", ["status=ACTIVE", "status=INACTIVE"]),
        ("relay send nonsense ", []),
    ],
)
def test_completion_offers_what_may_come_next(line: str, offered: list[str]) -> None:
    assert sorted(complete(line)) == sorted(offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_every_shell(shell: str) -> None:
    done = subprocess.run(  # noqa: S603
        [RELAY, "--show-completion", shell],
        env={"PATH": os.environ["PATH"], "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "_RELAY_COMPLETE" in done.stdout


@pytest.mark.parametrize("command", [command.callback for command in app.registered_commands])
def test_help_of_every_command_has_an_example(
    run: RunCommand, command: Callable[..., None]
) -> None:
    done = run(command.__name__, "--help")
    assert done.code == 0
    assert f"relay {command.__name__}" in done.out.partition("Example: ")[2]


def test_command_starts_without_what_only_a_server_needs() -> None:
    script = "import sys, app.cli.relay; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {
        *("fastapi", "sqlalchemy", "alembic", "httpx", "pydantic", "uvicorn", "cryptography"),
        *("app.main", "app.settings", "app.cli.client.relay_client", "app.cli.commands.send_file"),
    }
    assert heavy & set(done.stdout.split()) == set()


def test_commands_that_speak_to_a_relay_load_nothing_for_completion_and_help() -> None:
    names = ("access", "doctor", "events", "keys", "replay", "send")
    modules = ", ".join(f"app.cli.commands.{name}" for name in names)
    script = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"httpx", "pydantic", "jose", "cryptography", "app.settings"}
    assert heavy & set(done.stdout.split()) == set()
