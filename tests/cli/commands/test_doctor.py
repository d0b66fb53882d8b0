"""`relay doctor` on the real local Supabase: its findings, output and exit code."""

import hashlib
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from app.demo.local_supabase import LocalSupabase, run_local_supabase
from app.store.schema_upgrade import upgrade_store
from tests.cli.process import name_settings, read_json, run_relay_command
from tests.local import open_rest

BROKEN = """
alter table public.trip_memberships disable row level security;
grant all on public.trip_memberships to anon, authenticated;
alter table public.users rename username to name;
"""


def digest_rows(supabase: LocalSupabase) -> str:
    with open_rest(supabase, supabase.secret_key) as client:
        tables = ("users", "trips", "trip_memberships", "chat_messages")
        rows = [sorted(map(str, client.get(table).json())) for table in tables]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def add_member(supabase: LocalSupabase, name_column: str = "username") -> None:
    user_id, trip_id = str(uuid4()), str(uuid4())
    rows = {
        "users": {"id": user_id, "email": f"{user_id}@example.com", name_column: "Ada"},
        "trips": {"id": trip_id, "name": "Rome", "created_by": user_id},
        "trip_memberships": {
            "trip_id": trip_id,
            "user_id": user_id,
            "role": "OWNER",
            "status": "INACTIVE",
        },
    }
    with open_rest(supabase, supabase.secret_key) as client:
        for table, row in rows.items():
            client.post(table, json=row).raise_for_status()


@pytest.fixture(scope="module")
def broken_supabase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSupabase]:
    path = tmp_path_factory.mktemp("broken") / "broken.sql"
    path.write_text(BROKEN)
    with run_local_supabase(extra_sql=[path]) as supabase:
        add_member(supabase, "name")
        yield supabase


def test_local_supabase_without_db_url_has_no_problem_and_skips_what_needs_the_key(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    add_member(local_supabase)
    before = digest_rows(local_supabase)

    done = run_relay_command(tmp_path, name_settings(local_supabase), "doctor", "--json")

    assert done.returncode == 0, done.stdout
    document = read_json(done)
    assert document["status"] == "skipped"
    statuses = {finding["check"]: finding["status"] for finding in document["findings"]}
    assert "problem" not in statuses.values()
    for table in ("users", "trips", "trip_memberships"):
        # @supabase/lite plans no insert of no rows, and describes no columns.
        assert statuses[f"unique:{table}"] == "skipped"
        assert statuses[f"required:{table}"] == "skipped"
        assert statuses[f"writes-by-anon:{table}"] == "skipped"
        assert statuses[f"columns:{table}"] == statuses[f"writable:{table}"] == "ok"
        assert statuses[f"reads-by-authenticated:{table}"] == "ok"
    assert statuses["status"] == "ok"
    assert digest_rows(local_supabase) == before
    assert list(tmp_path.iterdir()) == []


def test_local_supabase_with_db_url_is_ok(
    supabase_over_postgres: LocalSupabase, tmp_path: Path
) -> None:
    add_member(supabase_over_postgres)
    settings = name_settings(supabase_over_postgres) | {
        "SUPABASE_DB_URL": str(supabase_over_postgres.database_url)
    }

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 0, done.stdout
    assert "0 problems, 0 skipped" in done.stdout


def test_broken_local_supabase_has_problems_with_fixes(
    broken_supabase: LocalSupabase, tmp_path: Path
) -> None:
    before = digest_rows(broken_supabase)
    settings = name_settings(broken_supabase)

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "problem: Anyone with the app's key can read rows of public.trip_memberships.\n" in (
        done.stdout
    )
    assert "\n    alter table public.users add column username text;\n" in done.stdout
    assert digest_rows(broken_supabase) == before
    problems = {
        finding["check"]
        for finding in read_json(run_relay_command(tmp_path, settings, "doctor", "--json"))[
            "findings"
        ]
        if finding["status"] == "problem"
    }
    assert problems == {
        "columns:users",
        "reads-by-anon:trip_memberships",
        "reads-by-authenticated:trip_memberships",
    }


def find(document: dict[str, list[dict[str, str]]], check: str) -> dict[str, str]:
    (finding,) = [finding for finding in document["findings"] if finding["check"] == check]
    return finding


def test_key_of_the_wrong_kind_or_project_is_a_problem(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    settings = name_settings(local_supabase)

    def check(**changed: str) -> dict[str, list[dict[str, str]]]:
        done = run_relay_command(tmp_path, settings | changed, "doctor", "--json")
        assert done.returncode == 1
        for key in changed.values():
            assert key not in done.stdout + done.stderr
        document: dict[str, list[dict[str, str]]] = read_json(done)
        return document

    wrong = check(SUPABASE_SECRET_KEY="sb_secret_of_another_project")
    assert "rejected the relay's API key" in find(wrong, "supabase")["what"]
    app = check(SUPABASE_SECRET_KEY=local_supabase.publishable_key)
    assert "is a publishable key" in find(app, "key")["what"]
    secret = check(SUPABASE_PUBLISHABLE_KEY=local_supabase.secret_key)
    assert "replace it at once" in find(secret, "app-key")["what"]


def test_optional_key_that_supabase_rejects_is_skipped_with_exit_code_2(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    settings = name_settings(local_supabase) | {
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_of_another_project",
        "SUPABASE_JWT_SECRET": "another",
    }

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert done.returncode == 2
    statuses = {f["check"]: f["status"] for f in read_json(done)["findings"]}
    assert statuses["reads-by-anon:users"] == "skipped"
    assert statuses["reads-by-authenticated:users"] == "skipped"


def test_unreachable_supabase_and_incomplete_settings_are_both_reported(tmp_path: Path) -> None:
    settings = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_x"}

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 1
    assert "problem: WEBHOOK_AUTH is hmac, which needs WEBHOOK_SECRETS" in done.stdout
    assert "problem: The connection to SUPABASE_URL fails: ConnectionRefusedError" in done.stdout
    assert "skipped: Tables, functions and policies" in done.stdout


def test_settings_without_supabase_are_reported_alone(tmp_path: Path) -> None:
    done = run_relay_command(tmp_path, {}, "doctor", "--json")

    assert done.returncode == 1
    sentences = [finding["what"] for finding in read_json(done)["findings"]]
    assert any(sentence.startswith("SUPABASE_URL is not set;") for sentence in sentences)


def test_key_set_that_is_unavailable_is_a_problem(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    settings = name_settings(local_supabase) | {"JWT_JWKS_URL": "http://127.0.0.1:9/keys"}

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert find(read_json(done), "key-set")["status"] == "problem"
    assert done.stderr == ""


def test_unusable_db_url_is_skipped_with_exit_code_2_and_hides_its_password(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    for url in ("postgresql://postgres:hunter2@127.0.0.1:9/postgres", "postgres hunter2"):
        settings = name_settings(local_supabase) | {"SUPABASE_DB_URL": url}

        done = run_relay_command(tmp_path, settings, "doctor", "--json")

        assert done.returncode == 2
        assert find(read_json(done), "catalog")["status"] == "skipped"
        assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("revision", "status"),
    [(None, "ok"), ("0001", "ok"), ("9999", "problem"), ("", "problem")],
)
def test_store_is_checked_while_a_transaction_writes_to_it(
    tmp_path: Path, revision: str | None, status: str
) -> None:
    store = tmp_path / "relay.db"
    upgrade_store(f"sqlite:///{store}")
    writer = sqlite3.connect(store, isolation_level=None)
    try:
        if revision == "":
            writer.execute("drop table alembic_version")
        elif revision is not None:
            writer.execute("update alembic_version set version_num = ?", (revision,))
        writer.execute("begin immediate")
        settings = {
            "SUPABASE_URL": "http://127.0.0.1:9",
            "SUPABASE_SECRET_KEY": "sb_secret_x",
            "STORE_URL": f"sqlite:///{store}",
        }
        done = run_relay_command(tmp_path, settings, "doctor", "--json")
    finally:
        writer.close()

    assert find(read_json(done), "store")["status"] == status


def test_url_of_another_server_is_a_problem(tmp_path: Path, local_supabase: LocalSupabase) -> None:
    settings = name_settings(local_supabase) | {"SUPABASE_URL": f"{local_supabase.url}/nowhere"}

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert "is not a Supabase" in find(read_json(done), "supabase")["what"]


def test_invalid_setting_is_one_finding(tmp_path: Path) -> None:
    settings = {
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_SECRET_KEY": "sb_secret_x",
        "WEBHOOK_SECRETS": "whsec_ZG9jdG9yLWRvY3Rvci1kb2N0b3ItZG9jdG9yLWRvY3Rvcg==",
        "JWT_SECRET": "short",
    }

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert done.returncode == 1
    (finding,) = read_json(done)["findings"]
    assert finding["what"].startswith("JWT_SECRET must be at least 32 bytes")


def test_progress_is_shown_on_a_terminal(local_supabase: LocalSupabase, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(  # noqa: S603 - ours
        [Path(sys.executable).with_name("relay"), "doctor"],
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **name_settings(local_supabase)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    ) as process:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # Linux reports the end of a terminal as an error
            while chunk := os.read(controller, 4096):
                shown += chunk
        printed, _ = process.communicate(timeout=100)
    os.close(controller)

    assert process.returncode == 0
    assert b"Checking the tables" in shown
    assert "Checking" not in printed


def test_progress_is_not_shown_elsewhere(local_supabase: LocalSupabase, tmp_path: Path) -> None:
    done = run_relay_command(tmp_path, name_settings(local_supabase), "doctor")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Checking" not in done.stdout
