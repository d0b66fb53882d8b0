"""The settings and commands of docs/guides/supabase.md work as described."""

import json
import os
import re
import shlex
from pathlib import Path

import httpx
import pytest

from app.cli.relay import import_command
from app.demo.local_supabase import LocalSupabase
from app.domain.entities import Kind
from app.supabase.mapping import read_target
from tests.cli.process import name_settings, run_relay_command
from tests.docs.commands import run_script
from tests.docs.pages import CHECKOUT, GUIDES, read_blocks, read_region
from tests.e2e.conftest import JWT_SECRET, run_relays
from tests.e2e.test_access import make_trip

GUIDE = GUIDES / "supabase.md"
PAGE = GUIDE.read_text()
KINDS = {
    "TARGET_USERS": Kind.USER,
    "TARGET_TRIPS": Kind.TRIP,
    "TARGET_MEMBERSHIPS": Kind.MEMBERSHIP,
}
TARGETS = re.findall(r"`(TARGET_[A-Z]+)=(\{[^`]+\})`", PAGE)


@pytest.mark.parametrize(("name", "text"), TARGETS)
def test_setting_of_the_page_sets_what_it_names(name: str, text: str) -> None:
    target = read_target(KINDS[name], text)

    for part, value in json.loads(text).items():
        match part:
            case "table":
                assert value in (target.table, f"{target.schema}.{target.table}")
            case "extra":
                wanted = value if isinstance(value, dict) else {field: field for field in value}
                assert target.extra == wanted
            case "columns":
                assert value.items() <= target.columns.items()
            case _:
                assert getattr(target, part) == value


def test_page_has_a_setting_for_every_part_and_one_that_combines_several() -> None:
    parts = [set(json.loads(text)) for _, text in TARGETS]
    assert set.union(*parts) == {"table", "columns", "copy", "constants", "extra", "inactive"}
    assert {"table", "columns", "inactive"} in parts


def test_options_and_variables_of_the_page_exist() -> None:
    known = [each for name in ("doctor", "access") for each in import_command(name).params]
    section = PAGE[PAGE.index("## Validate the setup") : PAGE.index("## Give the relay a key")]
    options = {option for parameter in known for option in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]*", section)) <= options
    variables = {
        variable
        for parameter in known
        for variable in (
            [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []
        )
    }
    assert set(re.findall(r"`((?:SUPABASE|RELAY)_[A-Z_]+)`", section)) <= variables


@pytest.mark.parametrize(
    ("region", "files"),
    [
        ("apply-all", sorted((CHECKOUT / "supabase" / "migrations").glob("*.sql"))),
        ("apply", sorted((CHECKOUT / "supabase" / "migrations").glob("*_relay_functions.sql"))),
    ],
)
def test_command_that_applies_sql_gives_psql_the_migrations(
    tmp_path: Path, region: str, files: list[Path]
) -> None:
    applied = read_applied(tmp_path, region)
    positions = [applied.index(file.read_text().strip()) for file in files]
    assert positions == sorted(positions)


def test_command_that_applies_the_tables_gives_psql_their_policies_and_the_functions(
    tmp_path: Path,
) -> None:
    (tmp_path / "tables.toml").write_text(read_region("toml/tables.toml#tables"))
    applied = read_applied(tmp_path, "apply-tables")
    policy = 'create policy "members read"\n  on public.supabase_chat_messages for select'
    assert policy in applied
    assert "function public.relay_apply(" in applied


def read_applied(folder: Path, region: str) -> str:
    """Run a command of the page with a psql that only reads."""
    psql = folder / "psql"
    psql.write_text("#!/bin/sh\ncat > applied.sql\n")
    psql.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SUPABASE_DB_URL": "postgresql://"}
    run_script(read_region(f"sh/supabase.sh#{region}"), folder, environment)
    return (folder / "applied.sql").read_text()


def test_doctor_finds_nothing_wrong_with_the_local_supabase(
    tmp_path: Path, supabase_over_postgres: LocalSupabase
) -> None:
    supabase = supabase_over_postgres
    settings = name_settings(supabase) | {"SUPABASE_DB_URL": str(supabase.database_url)}
    run_script(read_region("sh/supabase.sh#doctor"), tmp_path, settings)


def test_output_of_relay_access_is_as_on_the_page(
    tmp_path: Path, local_supabase: LocalSupabase, service_role: httpx.Client
) -> None:
    arguments = shlex.split(read_region("sh/supabase.sh#access"))[1:]
    ids = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    (wanted,) = [code for _, _, code in read_blocks(GUIDE) if "is_trip_member  " in code]
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
