"""The doctor checks the store as a start of the relay finds it."""

from pathlib import Path

from app.doctor.configuration import check_store
from app.doctor.findings import Status
from app.store.notifications import Pooler
from app.store.schema_upgrade import upgrade_store
from tests.postgres import PostgresServer


def test_postgres_store_is_ok_before_and_after_the_first_start(postgres: PostgresServer) -> None:
    store_url = postgres.create_database()

    before = list(check_store(store_url, Pooler.AUTO))
    upgrade_store(store_url)
    after = list(check_store(store_url, Pooler.AUTO))

    assert {finding.status for finding in (*before, *after)} == {Status.OK}
    assert "does not exist yet; relay serve creates it" in before[0].what
    assert "is at revision" in after[0].what
    assert "notify each other" in after[1].what


def test_store_that_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    (finding,) = check_store(f"sqlite:///{tmp_path}/nowhere/relay.db", Pooler.AUTO)

    assert finding.status is Status.PROBLEM
    assert finding.what.startswith("STORE_URL names a directory that does not exist")
