"""The command as a whole: help, completion, usage errors."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from app.auth.claims import Scope
from app.cli.relay import COMMANDS, import_command
from app.domain.entities import EntityState, EventStatus, Kind
from app.domain.events import EventType
from tests.cli.conftest import RunCommand

RELAY = Path(sys.executable).with_name("relay")


def complete(run: RunCommand, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """Return the completions that bash offers for a line."""
    monkeypatch.setenv("_RELAY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    return run().out.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("relay ev", ["events", "evict"]),
        ("relay rep", ["replay"]),
        ("relay events --status ", [*EventStatus]),
        ("relay replay --status ", [*EntityState]),
        ("relay events --type ", [*(f"{kind}.*" for kind in Kind), *EventType]),
        ("relay replay --type user.d", ["user.deleted"]),
        ("relay token --scope ", [*Scope]),
        ("relay send trip.", ["trip.created", "trip.updated", "trip.deleted"]),
        ("relay send membership.deleted ", ["trip_id=", "user_id="]),
        ("relay send nonsense ", []),
    ],
)
def test_completion_offers_the_words_that_may_follow(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    assert sorted(complete(run, monkeypatch, line)) == sorted(offered)


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


@pytest.mark.parametrize("command", COMMANDS)
def test_summary_of_every_command_is_the_first_line_of_its_help(command: str) -> None:
    assert import_command(command).help.splitlines()[0] == COMMANDS[command]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_is_whole_and_wrapped_by_words(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch, command: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    helped = run(command, "--help")
    assert (helped.code, helped.err) == (0, "")
    assert max(map(len, helped.out.splitlines())) <= width
    shown = "".join(helped.out.split())
    for parameter in import_command(command).params:
        assert "".join(parameter.help.split()) in shown
        if not getattr(parameter, "is_flag", False) and parameter.default is not None:
            assert str(parameter.default) in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_every_command_are_whole_lines(run: RunCommand, command: str) -> None:
    examples = (
        run(command, "--help").out.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    )
    assert examples
    assert all(f"relay {command}" in example for example in examples)


def test_help_imports_no_server_database_or_http_client() -> None:
    script = (
        "import sys; from app.cli.relay import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"fastapi", "sqlalchemy", "httpx", "pydantic", "uvicorn", "cryptography"}
    assert heavy & set(done.stderr.split()) == set()


def test_version_names_the_package_version(run: RunCommand) -> None:
    assert run("--version").out == f"relay {version('supabase-sync-relay')}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sned"], "relay: no such command 'sned'. Did you mean 'send'?"),
        (["send", "--foo"], "relay: no such option: --foo"),
        (["access"], "relay: missing --user and --trip"),
        (["access", "--user", "x"], "relay: invalid value for '--user': 'x' is not a valid UUID."),
        (["send", "--rejects", "r"], "relay: --rejects goes with --file"),
    ],
)
def test_usage_error_is_one_sentence_with_exit_code_2(
    run: RunCommand, arguments: list[str], sentence: str
) -> None:
    failed = run(*arguments)
    assert (failed.code, failed.out) == (2, "")
    assert failed.err.splitlines()[0] == sentence


def test_command_without_arguments_shows_the_help(run: RunCommand) -> None:
    assert run().out == run("--help").out
