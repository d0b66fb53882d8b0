"""Replicas behind a PgBouncer in transaction mode, where no session is theirs."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from app.store.store_status import inspect_store
from tests.e2e.conftest import await_that
from tests.pgbouncer import SESSIONS, Pgbouncer, find_pgbouncer, run_pgbouncer
from tests.postgres import PostgresServer
from tests.replicas.cluster import TAKEOVER_SECONDS, Cluster, open_cluster, start_all

_FOUND_OUT: Final = "a pooler stands before the store"

# PgBouncer sets these itself, to what each client has asked for.
_LEFT_BEHIND: Final = """
SELECT 'setting ' || name FROM pg_settings WHERE source = 'session' AND name NOT IN
    ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
UNION ALL SELECT 'statement ' || statement FROM pg_prepared_statements
UNION ALL SELECT 'channel ' || name FROM pg_listening_channels() AS name
UNION ALL SELECT 'lock ' || objid FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[Pgbouncer]:
    program = find_pgbouncer()
    if program is None:
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    with run_pgbouncer(program, postgres) as running:
        yield running


@pytest.fixture
def store_url(postgres: PostgresServer, pooler: Pgbouncer) -> str:
    """Address a database, whose sessions are its own, through the pooler."""
    return pooler.lead_to(postgres.create_database())


@pytest.fixture
def pair(tmp_path: Path, store_url: str, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two relays, started, that find out by themselves unless the test says what stands there."""
    says = getattr(request, "param", "auto")
    with open_cluster(tmp_path, store_url, 2, STORE_POOLER=says) as cluster:
        start_all(cluster.replicas)
        yield cluster


def read_left_behind(store_url: str) -> list[str]:
    """Inspect every session of the pooler, all at once."""
    found = []
    with ExitStack() as stack:
        pids = set()
        for _ in range(SESSIONS):
            connection = stack.enter_context(psycopg.connect(store_url, prepare_threshold=None))
            found += [str(what) for (what,) in connection.execute(_LEFT_BEHIND).fetchall()]
            pids.add(connection.execute("SELECT pg_backend_pid()").fetchone())
        assert len(pids) == SESSIONS
    return found


def test_sessions_of_the_pooler_show_what_is_left_in_them(store_url: str) -> None:
    """So that the next test can fail."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = 1000")
        connection.execute("LISTEN relay")
        connection.execute("SELECT 1", prepare=True)
        connection.execute("SELECT pg_advisory_lock(1)")
    kinds = [what.partition(" ")[0] for what in read_left_behind(store_url)]
    assert sorted(kinds)[:4] == ["channel", "lock", "setting", "statement"]


@pytest.mark.parametrize("pair", ["auto", "transaction"], indirect=True)
def test_replicas_behind_a_pooler_do_all_that_they_do_without(
    pair: Cluster, request: pytest.FixtureRequest
) -> None:
    pair.deliver(pair.backend.make_parents())
    pair.deliver(pair.backend.make_history(200))
    assert pair.backend.unacknowledged == []
    pair.settle()
    assert pair.writers() == {pair.await_leader().name}
    for replica in pair.replicas:
        began_at = time.monotonic()
        answer = replica.post("user.created", pair.backend.user_row(), wait=30)
        assert (answer.status_code, answer.json()["status"]) == (200, "applied")
        assert time.monotonic() - began_at < 15
        # A lease that is renewed late, on a busy machine, shows for a moment.
        await_that(lambda: replica.health()["status"] == "ok", TAKEOVER_SECONDS)  # noqa: B023
    pair.supabase.tables["users"].clear()
    (standby,) = pair.standbys()
    with standby.operator("replay:write", "events:read") as operator:
        assert len(operator.get("/events", params={"limit": 50}).json()["events"]) == 50
        replay = operator.post("/replay", json={"all": True}).json()
        path = f"/replay/{replay['replay_id']}"
        await_that(lambda: is_completed(operator.get(path).json()), TAKEOVER_SECONDS)
    pair.await_settled()
    assert pair.supabase.rows("users")

    finds_out = "transaction" not in request.node.callspec.id
    if finds_out:
        await_that(lambda: all(_FOUND_OUT in one.log for one in pair.replicas), TAKEOVER_SECONDS)
    for replica in pair.replicas:
        assert replica.stop() == 0
        assert (_FOUND_OUT in replica.log) is finds_out
        assert "notify each other" not in replica.log
    assert read_left_behind(pair.store_url) == []


def test_store_behind_a_pooler_is_reported_and_leaves_nothing_in_its_sessions(
    store_url: str,
) -> None:
    state = inspect_store(store_url)
    assert state.is_behind_pooler is True
    assert read_left_behind(store_url) == []


def is_completed(replay: dict[str, Any]) -> bool:
    return bool(replay["status"] == "completed")


def test_replica_behind_a_pooler_that_is_killed_is_followed_within_seconds(pair: Cluster) -> None:
    leader, (standby,) = pair.await_leader(), pair.standbys()
    with pair.delivering(pair.backend.make_history(200)):
        leader.kill()
        answer = standby.post("user.created", pair.backend.user_row(), wait=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "applied")
    assert pair.find_leader() is standby
    pair.deliver(pair.backend.unacknowledged)
    assert pair.backend.unacknowledged == []
