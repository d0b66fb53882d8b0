"""`relay migrate`: one store, or one into another."""

import json
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.store.schema_upgrade import upgrade_store
from tests.cli.conftest import RunCommand
from tests.postgres import PostgresServer


@pytest.fixture
def source(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/relay.db"
    upgrade_store(url)
    return url


def test_migrate_names_the_store_and_both_revisions(
    run: RunCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store_url = f"sqlite:///{tmp_path}/new.db"
    monkeypatch.setenv("STORE_URL", store_url)
    assert run("migrate").out.startswith(f"Migrated the store {store_url} from revision none to ")
    assert f"The store {store_url} is already at revision" in run("migrate").out


def test_migrate_into_another_store_names_both_and_counts_the_rows(
    run: RunCommand, source: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    target = postgres.create_database()
    done = run("migrate", "--from", source, "--to", target)
    assert done.code == 0, done.err
    named = make_url(target).render_as_string(hide_password=True)
    assert done.out == (
        f"Copied 0 events and 0 entities from {source} to {named}; both hold the same.\n"
    )
    copy = f"sqlite:///{tmp_path}/copy.db"
    document = json.loads(run("migrate", "--from", source, "--to", copy, "--json").out)
    tables = ("events", "entities", "replays", "reconciliations", "differences", "revocations")
    assert document["rows"] == dict.fromkeys((*tables, "account_closures", "heartbeat", "purge"), 0)


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_migrate_with_one_of_two_options_is_a_sentence(
    run: RunCommand, source: str, option: str
) -> None:
    done = run("migrate", option, source)
    assert (done.code, done.err) == (2, "relay: --from and --to go together\n")


def test_migrate_from_a_missing_file_is_a_sentence(run: RunCommand, tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path}/missing.db"
    done = run("migrate", "--from", missing, "--to", f"sqlite:///{tmp_path}/copy.db")
    assert done.code == 2
    assert done.err.startswith("relay: --from names no store: ")


def test_migrate_into_a_missing_database_is_a_sentence_without_the_password(
    run: RunCommand, source: str, postgres: PostgresServer
) -> None:
    missing = f"{postgres.url.rpartition('/')[0]}/missing"
    done = run("migrate", "--from", source, "--to", missing)
    assert done.code == 2
    assert done.err.startswith("relay: --to cannot be ")
    assert missing.split(":")[2].partition("@")[0] not in done.err
