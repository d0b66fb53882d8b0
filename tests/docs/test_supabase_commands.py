"""The settings and commands of docs/guides/supabase.md are as the page says."""

import json
import re
import shlex
from pathlib import Path

import httpx
import pytest
import typer

from app.cli.relay import app
from app.demo.local_supabase import LocalSupabase
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from tests.cli.running import name_settings, run_relay_command
from tests.docs.pages import GUIDES
from tests.e2e.conftest import JWT_SECRET, run_relays
from tests.e2e.test_access import make_trip

PAGE = (GUIDES / "supabase.md").read_text()
KINDS = {
    "TARGET_USERS": Kind.USER,
    "TARGET_TRIPS": Kind.TRIP,
    "TARGET_MEMBERSHIPS": Kind.MEMBERSHIP,
}
TARGETS = re.findall(r"`(TARGET_[A-Z]+)=(\{[^`]+\})`", PAGE)
COMMANDS = re.findall(r"^relay (?:doctor|access) .+$", PAGE, re.MULTILINE)


def read_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("name", "text"), TARGETS)
def test_setting_of_the_page_is_taken_and_sets_what_it_names(name: str, text: str) -> None:
    target = read_target(KINDS[name], text)

    for part, value in json.loads(text).items():
        match part:
            case "table":
                assert f"{target.schema}.{target.table}" == value
            case "extra":
                wanted = value if isinstance(value, dict) else {field: field for field in value}
                assert target.extra == wanted
            case "columns":
                assert value.items() <= target.columns.items()
            case _:
                assert getattr(target, part) == value


def test_page_has_a_setting_for_every_part_and_one_of_several() -> None:
    parts = {part for _, text in TARGETS for part in json.loads(text)}
    assert parts == {"table", "columns", "copy", "constants", "extra", "inactive"}
    (block,) = [block for block in read_blocks("sh") if block.startswith("TARGET_")]
    name, _, value = block.strip().partition("=")
    (text,) = shlex.split(value)
    assert read_target(KINDS[name], text).table == "trip_members"


def test_commands_and_options_of_the_page_exist() -> None:
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    known = {
        option: parameter
        for name in ("doctor", "access")
        for parameter in commands[name].params
        for option in parameter.opts
    }
    assert len(COMMANDS) == 2  # one of each
    section = PAGE[PAGE.index("### Proving it") : PAGE.index("## Keys")]
    assert set(re.findall(r"--[a-z][a-z-]*", section)) <= set(known)
    environment = {
        variable
        for parameter in known.values()
        for variable in (
            [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
        )
    }
    named = set(re.findall(r"`((?:SUPABASE|RELAY)_[A-Z_]+)`", section))
    assert named <= environment


def test_answer_of_relay_access_is_as_on_the_page(
    tmp_path: Path, local_supabase: LocalSupabase, service_role: httpx.Client
) -> None:
    (command,) = [command for command in COMMANDS if command.startswith("relay access")]
    arguments = shlex.split(command)[1:]
    ids = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    (wanted,) = [block for block in read_blocks("text") if "is_trip_member" in block]
    with run_relays(tmp_path) as make:
        relay = make(SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key)
        settings = {
            **name_settings(local_supabase),
            "JWT_SECRET": JWT_SECRET,
            "RELAY_URL": relay.url,
        }
        trip = make_trip(
            relay, settings, tmp_path, service_role, id=ids["--trip"], user=ids["--user"]
        )
        trip.move_member("membership.created")
        trip.move_member("membership.updated", "INACTIVE")

        done = run_relay_command(tmp_path, settings, *arguments)

    assert hide_what_varies(done.stdout) == hide_what_varies(wanted)


def hide_what_varies(text: str) -> str:
    return re.sub(r"evt_[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z", "…", text)
