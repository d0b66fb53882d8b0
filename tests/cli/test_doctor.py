"""`relay doctor` on the real local Supabase: what it finds there, prints, and ends with."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.demo.local_supabase import LocalSupabase, run_local_supabase
from app.store.migrating import migrate_store
from tests.cli.running import name_settings, read_json, run_relay_command
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


def test_good_local_supabase_has_no_problem_and_says_what_it_hides(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    add_member(local_supabase)
    before = digest_rows(local_supabase)

    done = run_relay_command(tmp_path, name_settings(local_supabase), "doctor", "--json")

    assert done.returncode == 2, done.stdout
    document = read_json(done)
    assert document["verdict"] == "could-not-check"
    verdicts = {finding["check"]: finding["verdict"] for finding in document["findings"]}
    assert "problem" not in verdicts.values()
    for table in ("users", "trips", "trip_memberships"):
        # It answers by itself where PostgREST asks the database, and describes no columns.
        assert verdicts[f"unique:{table}"] == "could-not-check"
        assert verdicts[f"required:{table}"] == "could-not-check"
        assert verdicts[f"writes-by-anon:{table}"] == "could-not-check"
        assert verdicts[f"columns:{table}"] == verdicts[f"writable:{table}"] == "fine"
        assert verdicts[f"reads-by-authenticated:{table}"] == "fine"
    assert verdicts["status"] == "fine"
    assert digest_rows(local_supabase) == before
    assert list(tmp_path.iterdir()) == []


def test_good_local_supabase_with_its_catalog_read_is_fine(
    supabase_over_postgres: LocalSupabase, tmp_path: Path
) -> None:
    add_member(supabase_over_postgres)
    settings = name_settings(supabase_over_postgres) | {
        "SUPABASE_DB_URL": str(supabase_over_postgres.database_url)
    }

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 0, done.stdout
    assert "0 to put right, 0 could not be checked" in done.stdout


def test_broken_local_supabase_is_described_with_fixes_to_paste(
    broken_supabase: LocalSupabase, tmp_path: Path
) -> None:
    before = digest_rows(broken_supabase)
    settings = name_settings(broken_supabase)

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "problem: Anybody with the app's key reads rows of public.trip_memberships.\n" in (
        done.stdout
    )
    assert "\n    alter table public.users add column username text;\n" in done.stdout
    assert digest_rows(broken_supabase) == before
    problems = {
        finding["check"]
        for finding in read_json(run_relay_command(tmp_path, settings, "doctor", "--json"))[
            "findings"
        ]
        if finding["verdict"] == "problem"
    }
    assert problems == {
        "columns:users",
        "reads-by-anon:trip_memberships",
        "reads-by-authenticated:trip_memberships",
    }


def find(document: dict[str, list[dict[str, str]]], check: str) -> dict[str, str]:
    (finding,) = [finding for finding in document["findings"] if finding["check"] == check]
    return finding


def test_keys_that_do_not_fit_are_found(local_supabase: LocalSupabase, tmp_path: Path) -> None:
    settings = name_settings(local_supabase)

    def examine(**changed: str) -> dict[str, list[dict[str, str]]]:
        done = run_relay_command(tmp_path, settings | changed, "doctor", "--json")
        assert done.returncode == 1
        for key in changed.values():
            assert key not in done.stdout + done.stderr
        document: dict[str, list[dict[str, str]]] = read_json(done)
        return document

    wrong = examine(SUPABASE_SECRET_KEY="sb_secret_of_another_project")
    assert "refuses the relay's key" in find(wrong, "supabase")["what"]
    app = examine(SUPABASE_SECRET_KEY=local_supabase.publishable_key)
    assert "is a publishable key" in find(app, "key")["what"]
    secret = examine(SUPABASE_PUBLISHABLE_KEY=local_supabase.secret_key)
    assert "replace it at once" in find(secret, "app-key")["what"]


def test_key_that_is_wrong_for_apps_or_tokens_is_not_checked(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    settings = name_settings(local_supabase) | {
        "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_of_another_project",
        "SUPABASE_JWT_SECRET": "another",
    }

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert done.returncode == 2
    verdicts = {f["check"]: f["verdict"] for f in read_json(done)["findings"]}
    assert verdicts["reads-by-anon:users"] == "could-not-check"
    assert verdicts["reads-by-authenticated:users"] == "could-not-check"


def test_unreachable_supabase_and_incomplete_settings_are_said_together(tmp_path: Path) -> None:
    settings = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "sb_secret_x"}

    done = run_relay_command(tmp_path, settings, "doctor")

    assert done.returncode == 1
    assert "problem: WEBHOOK_AUTH is hmac, which needs WEBHOOK_SECRETS" in done.stdout
    assert "problem: Nothing listens at SUPABASE_URL." in done.stdout
    assert "could not check: Tables, keys" in done.stdout


def test_settings_without_supabase_are_all_that_can_be_said(tmp_path: Path) -> None:
    done = run_relay_command(tmp_path, {}, "doctor", "--json")

    assert done.returncode == 1
    sentences = [finding["what"] for finding in read_json(done)["findings"]]
    assert any(sentence.startswith("SUPABASE_URL is not set;") for sentence in sentences)


def test_issuer_without_keys_is_a_problem(local_supabase: LocalSupabase, tmp_path: Path) -> None:
    settings = name_settings(local_supabase) | {"JWT_JWKS_URL": "http://127.0.0.1:9/keys"}

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert find(read_json(done), "key-set")["verdict"] == "problem"
    assert done.stderr == ""


def test_database_that_cannot_be_reached_is_not_checked_and_no_password_shown(
    local_supabase: LocalSupabase, tmp_path: Path
) -> None:
    for url in ("postgresql://postgres:hunter2@127.0.0.1:9/postgres", "postgres hunter2"):
        settings = name_settings(local_supabase) | {"SUPABASE_DB_URL": url}

        done = run_relay_command(tmp_path, settings, "doctor", "--json")

        assert done.returncode == 2
        assert find(read_json(done), "catalog")["verdict"] == "could-not-check"
        assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("revision", "verdict"),
    [(None, "fine"), ("0001", "fine"), ("9999", "problem"), ("", "problem")],
)
def test_store_is_looked_at_while_somebody_writes_to_it(
    tmp_path: Path, revision: str | None, verdict: str
) -> None:
    store = tmp_path / "relay.db"
    migrate_store(f"sqlite:///{store}")
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

    assert find(read_json(done), "store")["verdict"] == verdict


def test_what_is_no_supabase_is_named(tmp_path: Path, local_supabase: LocalSupabase) -> None:
    settings = name_settings(local_supabase) | {"SUPABASE_URL": f"{local_supabase.url}/nowhere"}

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert "is not a Supabase" in find(read_json(done), "supabase")["what"]


def test_setting_that_is_no_good_is_one_finding_whatever_its_sentence_holds(tmp_path: Path) -> None:
    settings = {
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_SECRET_KEY": "sb_secret_x",
        "WEBHOOK_SECRETS": "whsec_ZG9jdG9yLWRvY3Rvci1kb2N0b3ItZG9jdG9yLWRvY3Rvcg==",
        "JWT_SECRET": "short",
    }

    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    assert done.returncode == 1
    assert [finding["what"] for finding in read_json(done)["findings"]] == [
        "JWT_SECRET: must be at least 32 bytes; `relay secret --kind jwt` makes one."
    ]
