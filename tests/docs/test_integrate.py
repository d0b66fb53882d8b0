"""The code of docs/guides/integrate.md and docs/reference/events.md runs as described."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from app.domain.event_reader import EventReader
from app.domain.events import EventType
from app.domain.instants import parse_timestamp
from app.settings import Settings
from tests.docs.commands import run_script
from tests.docs.conftest import JWT_SECRET, UNREACHABLE, Relay, SupabaseWire, run_relay
from tests.docs.pages import CHECKOUT, DOCS, SNIPPETS, read_blocks, read_region
from tests.golang import (
    GO_MODULE,
    GO_SECONDS,
    OUTBOX_SQL,
    go_environment,
    require_module,
    run_go,
)
from tests.postgres import PostgresServer

EVENTS = DOCS / "reference" / "events.md"
SECONDS = 100
PYTHON = SNIPPETS / "python" / "send_event.py"
PYTHON_WITH_TOKEN = SNIPPETS / "python" / "send_with_token.py"

NOW = parse_timestamp("2026-01-02T03:04:06Z")
USER_ID = "123e4567-e89b-12d3-a456-426614174000"
USER = (f"id={USER_ID}", "email=ana@example.com", "username=ana")


def test_event_on_a_page_is_valid() -> None:
    settings = Settings.model_fields
    reader = EventReader(
        roles=settings["membership_roles"].default,
        statuses=settings["membership_statuses"].default,
    )
    pages = (EVENTS, CHECKOUT / "README.md")
    bodies = [code for language, _, code in read_blocks(*pages) if language == "json"]
    types = {reader.read_event("evt_1", body.encode(), now=NOW).type for body in bodies}
    assert types == {EventType.MEMBERSHIP_CREATED}


# --- Python ---------------------------------------------------------------------------------------


def run(
    arguments: list[str | Path], *, environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the commands are ours
        arguments,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def test_python_snippet_sends_an_accepted_event(relay: Relay) -> None:
    # -I: only the standard library can be imported.
    done = run(
        [sys.executable, "-I", "-W", "error", PYTHON, "user.created", *USER],
        environment=relay.caller_environment,
        folder=relay.folder,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "accepted\n", "")


def test_python_snippet_with_a_field_missing_shows_the_problem(relay: Relay) -> None:
    done = run(
        [sys.executable, "-I", PYTHON, "user.created", *USER[:2]],
        environment=relay.caller_environment,
        folder=relay.folder,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("422: ")
    assert "/data/username" in done.stderr


def test_python_snippet_signature_equals_the_reference_vector() -> None:
    file = json.loads((CHECKOUT / "tests/golden/standard-webhooks.json").read_text())
    vector = next(vector for vector in file["vectors"] if vector["name"] == "v1 published")
    defaults = file["defaults"]
    program = (
        "import runpy, sys; name, *arguments = sys.argv[1:];"
        "sign = runpy.run_path(name)['sign'];"
        "secret, event_id, sent_at, body = arguments;"
        "print(sign(secret, event_id, int(sent_at), body.encode()))"
    )
    arguments = (vector["signing_secret"], defaults["id"], defaults["timestamp"], defaults["body"])
    done = run(
        [sys.executable, "-I", "-c", program, PYTHON, *arguments],
        environment=os.environ,
        folder=CHECKOUT,
    )
    assert done.stdout.strip() == vector["signature"]


def test_curl_command_that_relay_send_prints_is_accepted(relay: Relay) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    printed = run(
        [Path(sys.executable).with_name("relay"), "send", "user.created", *USER, "--curl"],
        environment=relay.caller_environment,
        folder=relay.folder,
    )
    done = run(
        ["sh", "-c", printed.stdout], environment=relay.caller_environment, folder=relay.folder
    )
    assert json.loads(done.stdout)["status"] == "accepted"


# --- With a JWT -----------------------------------------------------------------------------------


@pytest.fixture(params=["jwt", "any"])
def relay_of_tokens(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Relay]:
    with run_relay(tmp_path, UNREACHABLE, WEBHOOK_AUTH=request.param) as running:
        yield running


def test_python_snippet_with_a_token_is_accepted(relay_of_tokens: Relay) -> None:
    done = run(
        [sys.executable, "-I", "-W", "error", PYTHON_WITH_TOKEN, "user.created", *USER],
        environment=relay_of_tokens.caller_environment,
        folder=relay_of_tokens.folder,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "accepted\n", "")


def test_token_of_the_snippet_is_valid_only_for_its_id_and_body(
    relay_of_tokens: Relay,
) -> None:
    make_token = runpy.run_path(str(PYTHON_WITH_TOKEN))["make_token"]
    body = next(code for language, _, code in read_blocks(EVENTS) if language == "json").encode()
    token = make_token(JWT_SECRET, "evt_1", body)

    def post(event_id: str, body: bytes, path: str = "/webhooks") -> int:
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "webhook-id": event_id,
        }
        url = f"{relay_of_tokens.url}{path}"
        return httpx.post(url, content=body, headers=headers, trust_env=False).status_code

    assert post("evt_2", body) == 401
    assert post("evt_1", body + b" ") == 401
    assert post("evt_2", body, "/webhooks/batch") == 401
    assert post("evt_1", body, "/webhooks/batch") == 422  # admitted, and no batch
    assert post("evt_1", body) == 202
    # A captured token tried under this id does not make the genuine event a conflict.
    token = make_token(JWT_SECRET, "evt_2", body + b" ")
    assert post("evt_2", body + b" ") == 202


def test_commands_with_a_token_send_an_accepted_event(relay_of_tokens: Relay) -> None:
    body = next(code for language, _, code in read_blocks(EVENTS) if language == "json")
    (relay_of_tokens.folder / "event.json").write_text(body)
    commands = read_region("sh/send.sh#token")
    printed = run_script(commands, relay_of_tokens.folder, relay_of_tokens.caller_environment)
    assert json.loads(printed) == {"event_id": "evt_1", "status": "accepted"}


# --- Updates and versions -------------------------------------------------------------------------


def test_update_of_no_permission_column_writes_nothing(
    relay_on_wire: Relay, supabase_wire: SupabaseWire
) -> None:
    row = {"id": USER_ID, "email": "ana@example.com", "username": "ana"}
    created = relay_on_wire.send("user.created", *USER, "--wait", "10")
    assert created["status"] == "applied"
    assert supabase_wire.writes == [("upsert", "public.users", [row])]

    for biography in ("likes trains", "likes ships"):
        same = relay_on_wire.send("user.updated", *USER, f"biography={biography}", "--wait", "10")
        assert same["status"] == "applied"
    assert len(supabase_wire.writes) == 1

    other = relay_on_wire.send("user.updated", *USER[:2], "username=anna", "--wait", "10")
    assert other["status"] == "applied"
    assert supabase_wire.writes[1:] == [("upsert", "public.users", [row | {"username": "anna"}])]


def test_event_older_than_the_applied_one_changes_nothing(
    relay_on_wire: Relay, supabase_wire: SupabaseWire
) -> None:
    relay_on_wire.send("user.created", *USER, "--wait", "10")
    # As in backfill.sql.
    backfill = relay_on_wire.send(
        "user.created", *USER[:2], "username=old", "--timestamp", "2000-01-01T00:00:00Z"
    )
    last = relay_on_wire.send("user.updated", *USER[:2], "username=anna", "--wait", "10")
    assert (backfill["status"], last["status"]) == ("accepted", "applied")
    assert [rows[0]["username"] for _, _, rows in supabase_wire.writes] == ["ana", "anna"]


# --- Go -------------------------------------------------------------------------------------------


@pytest.mark.timeout(GO_SECONDS + 60)
def test_module_is_installed_by_the_documented_commands(tmp_path: Path) -> None:
    require_module()
    run_go("mod", "init", "nomadcrew", folder=tmp_path)
    (tmp_path / "main.go").write_text(
        'package main\n\nimport _ "github.com/nomadcrew/supabase-sync/relaypgx"\n\nfunc main() {}\n'
    )
    environment = go_environment() | {"RELAY_CHECKOUT": str(CHECKOUT), "GOFLAGS": "-modcacherw"}
    run_script(read_region("sh/integrate.sh#install"), tmp_path, environment)
    run_go("vet", "./...", folder=tmp_path)


# --- SQL ------------------------------------------------------------------------------------------

_ROWS = """
insert into users select gen_random_uuid(), 'e' || n, 'u' || n from generate_series(1, 3) n;
insert into trips (name, created_by) select 'with a creator', id from users where username = 'u1';
insert into trips (name) values ('without');
insert into trips (name, deleted_at) values ('deleted', now());
insert into trip_memberships (trip_id, user_id, role, status)
  select (select id from trips where name = 'without'), id, 'MEMBER',
         case username when 'u1' then 'INACTIVE' else 'ACTIVE' end::membership_status from users;
insert into trip_memberships (trip_id, user_id, role)
  select (select id from trips where name = 'deleted'), id, 'MEMBER' from users;
"""


def test_backend_of_the_documents_is_backfilled_and_watched(postgres: PostgresServer) -> None:
    schema = (GO_MODULE / "example" / "db" / "schema.sql").read_text()
    with psycopg.connect(postgres.create_database(), autocommit=True) as connection:
        for statements in (
            schema,
            OUTBOX_SQL.read_text(),
            _ROWS,
            read_region("sql/backfill.sql#backfill"),
        ):
            connection.execute(statements.encode())
        counted = connection.execute(
            "select type, count(*), max(occurred_at) from relay_outbox group by type order by type"
        ).fetchall()
        assert [(kind, count) for kind, count, _ in counted] == [
            ("membership.created", 3),
            ("trip.created", 2),
            ("user.created", 3),
        ]
        assert {at for *_, at in counted} == {datetime(2000, 1, 1, tzinfo=UTC)}
        connection.execute("update relay_outbox set parked_at = now() where type = 'trip.created'")
        watch = read_region("sql/operate.sql#watch").encode()
        waiting, revocations, oldest, parked = connection.execute(watch).fetchone() or ()
        assert (waiting, revocations, parked) == (6, 1, 2)
        assert oldest.days > 365 * 20
        connection.execute(read_region("sql/operate.sql#unpark").encode())
        assert (connection.execute(watch).fetchone() or ())[3] == 0
