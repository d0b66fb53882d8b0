"""The store is judged as a start would find it."""

from pathlib import Path

import pytest

from app.doctor.findings import Verdict
from app.doctor.store import examine_store, judge_pooler
from app.store.migrating import migrate_store
from app.store.signals import Pooler
from tests.postgres import PostgresServer


def test_postgres_is_fine_before_and_after_the_first_start(postgres: PostgresServer) -> None:
    store_url = postgres.create_database()

    before = list(examine_store(store_url, Pooler.AUTO))
    migrate_store(store_url)
    after = list(examine_store(store_url, Pooler.AUTO))

    assert {finding.verdict for finding in (*before, *after)} == {Verdict.FINE}
    assert "relay serve makes it" in before[0].what
    assert "is at revision" in after[0].what
    assert "replicas tell each other" in after[1].what


def test_store_that_cannot_be_opened_is_a_problem_with_one_sentence(tmp_path: Path) -> None:
    (finding,) = examine_store(f"sqlite:///{tmp_path}/nowhere/relay.db", Pooler.AUTO)

    assert finding.verdict is Verdict.PROBLEM
    assert finding.what.startswith("STORE_URL names a folder that is not there")


@pytest.mark.parametrize(
    ("pooler", "has_sessions", "said"),
    [
        (Pooler.AUTO, True, "replicas tell each other"),
        (Pooler.TRANSACTION, True, "STORE_POOLER=auto"),
        (Pooler.AUTO, False, "four times a second"),
        (Pooler.TRANSACTION, False, "four times a second"),
    ],
)
def test_pooler_is_told_and_no_problem(pooler: Pooler, has_sessions: bool, said: str) -> None:
    finding = judge_pooler(pooler, has_sessions=has_sessions)
    assert finding.verdict is Verdict.FINE
    assert said in finding.what
