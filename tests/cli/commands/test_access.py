"""`relay access` on the real local Supabase: its output and exit code."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.auth.tokens import mint_token
from app.demo.local_supabase import LocalSupabase
from tests.cli.process import name_settings, read_json, run_relay_command
from tests.local import open_rest


@contextmanager
def serve_response(document: dict[str, Any], status: int = 200) -> Iterator[str]:
    """Respond to every GET alike; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def member(local_supabase: LocalSupabase) -> tuple[str, str]:
    """An ACTIVE member: the ids of the user and the trip."""
    user_id, trip_id = str(uuid4()), str(uuid4())
    rows = {
        "users": {"id": user_id, "email": f"{user_id}@example.com", "username": "Ada"},
        "trips": {"id": trip_id, "name": "Rome", "created_by": user_id},
        "trip_memberships": {
            "trip_id": trip_id,
            "user_id": user_id,
            "role": "OWNER",
            "status": "ACTIVE",
        },
        "chat_messages": {"trip_id": trip_id, "user_id": user_id, "body": "hello"},
    }
    with open_rest(local_supabase, local_supabase.secret_key) as client:
        for table, row in rows.items():
            client.post(table, json=row).raise_for_status()
    return user_id, trip_id


def test_member_sees_every_table_and_the_explanation_last(
    local_supabase: LocalSupabase, member: tuple[str, str], tmp_path: Path
) -> None:
    user_id, trip_id = member
    settings = name_settings(local_supabase) | {"RELAY_URL": "http://127.0.0.1:9"}
    arguments = ("access", "--user", user_id, "--trip", trip_id)

    done = run_relay_command(tmp_path, settings, *arguments)

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["trips", "allowed"] in lines
    assert ["chat_reactions", "no-rows"] in lines
    assert ["membership", "OWNER, ACTIVE"] in lines
    assert done.stdout.splitlines()[-1].startswith("Allowed: the membership is ACTIVE")


def test_relay_that_cannot_be_queried_is_reported_with_exit_code_0(
    local_supabase: LocalSupabase, member: tuple[str, str], tmp_path: Path
) -> None:
    user_id, trip_id = member
    arguments = ("access", "--user", user_id, "--trip", trip_id, "--json")
    settings = name_settings(local_supabase)

    away = run_relay_command(tmp_path, settings | {"RELAY_URL": "http://127.0.0.1:9"}, *arguments)
    with serve_response({"code": "scope-missing"}, 403) as url:
        refused = run_relay_command(tmp_path, settings | {"RELAY_URL": url}, *arguments)
    with serve_response({"hello": "world"}) as url:
        other = run_relay_command(tmp_path, settings | {"RELAY_URL": url}, *arguments)

    assert [done.returncode for done in (away, refused, other)] == [0, 0, 0]
    assert "no relay responds" in read_json(away)["relay_error"]
    assert "lacks the scope events:read" in read_json(refused)["relay_error"]
    assert "of another version" in read_json(other)["relay_error"]


def test_token_of_the_user_replaces_the_jwt_secret(
    local_supabase: LocalSupabase, member: tuple[str, str], tmp_path: Path
) -> None:
    user_id, trip_id = member
    settings = name_settings(local_supabase)
    secret = settings.pop("SUPABASE_JWT_SECRET")
    claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated"}
    token = mint_token({**claims, "exp": 4_000_000_000}, secret=secret)
    expired = mint_token({**claims, "exp": 1_000_000_000}, secret=secret)
    arguments = ("access", "--user", user_id, "--trip", trip_id, "--user-token")

    assert run_relay_command(tmp_path, settings, *arguments, token).returncode == 0
    late = run_relay_command(tmp_path, settings, *arguments, expired)
    assert late.returncode == 2
    assert "Reading as this user failed: PGRST303, JWT expired." in late.stderr


@pytest.mark.parametrize(
    ("change", "arguments", "code", "sentence"),
    [
        ({}, ("--user", "somebody"), 2, "is not a valid UUID"),
        ({"SUPABASE_JWT_SECRET": ""}, (), 2, "--jwt-secret"),
        ({"SUPABASE_JWT_SECRET": ""}, ("--user-token", "x"), 2, "not a token of --user"),
        ({"SUPABASE_PUBLISHABLE_KEY": ""}, (), 2, "SUPABASE_PUBLISHABLE_KEY is not set"),
        ({"SUPABASE_URL": ""}, (), 2, "SUPABASE_URL is not set"),
        ({"SUPABASE_URL": "http://127.0.0.1:9"}, (), 3, "could not be read"),
        ({"SUPABASE_SECRET_KEY": "sb_secret_wrong"}, (), 2, "could not be read"),
    ],
)
def test_access_that_cannot_be_checked_has_its_own_exit_code(
    local_supabase: LocalSupabase,
    tmp_path: Path,
    change: dict[str, str],
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    ids = ("--user", str(uuid4()), "--trip", str(uuid4()))

    done = run_relay_command(
        tmp_path, name_settings(local_supabase) | change, "access", *ids, *arguments
    )

    assert done.returncode == code
    assert sentence in done.stderr


def test_access_without_settings_names_everything_that_is_missing(tmp_path: Path) -> None:
    ids = ("--user", str(uuid4()), "--trip", str(uuid4()))
    done = run_relay_command(tmp_path, {}, "access", *ids)
    assert done.returncode == 2
    for name in (
        "SUPABASE_JWT_SECRET",
        "SUPABASE_USER_TOKEN",
        "SUPABASE_URL",
        "SUPABASE_SECRET_KEY",
    ):
        assert f"{name} " in done.stderr
