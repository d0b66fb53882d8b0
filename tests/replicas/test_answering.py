"""What a replica answers that does not dispatch is what the one that does would answer."""

import time
from typing import Any, Final

import pytest

from app.store.store import Store
from tests.e2e.conftest import await_that
from tests.fake_postgrest import is_write
from tests.histories import NOW, World
from tests.replicas.cluster import TAKEOVER_SECONDS, Cluster, Replica, start_all

_USERS: Final = 10_000

# Held by one that says nothing.
_SILENT: Final = """
UPDATE lease SET holder = 'elsewhere/1', token = token + 1, report = NULL,
    expires_at = EXTRACT(EPOCH FROM clock_timestamp() + interval '1 hour') * 1000000
"""
# Free, and no replica can acquire it.
_FREE: Final = """
UPDATE lease SET token = token + 1, expires_at = 0;
CREATE FUNCTION change_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stays BEFORE UPDATE ON lease FOR EACH ROW EXECUTE FUNCTION change_nothing()
"""


def post_user(cluster: Cluster, to: Replica, *, wait: int) -> Any:
    return to.post("user.created", cluster.backend.user_row(), wait=wait)


def test_standby_asked_to_wait_answers_as_soon_as_it_is_applied(shared: Cluster) -> None:
    for standby in shared.standbys():
        post_user(shared, standby, wait=30)  # the first of a connection
        began_at = time.monotonic()
        answer = post_user(shared, standby, wait=30)
        assert (answer.status_code, answer.json()["status"]) == (200, "applied")
        assert time.monotonic() - began_at < 15


def test_standby_asked_to_wait_is_answered_after_a_takeover(shared: Cluster) -> None:
    leader, (standby, _) = shared.await_leader(), shared.standbys()
    shared.supabase.respond_with(503, of=is_write)
    post_user(shared, standby, wait=0)
    leader.kill()
    shared.supabase.heal()
    answer = post_user(shared, standby, wait=20)
    assert (answer.status_code, answer.json()["status"]) == (200, "applied")


def await_everywhere(cluster: Cluster, status: str) -> list[dict[str, Any]]:
    """Wait until every replica says so of its health, and give what it says."""
    await_that(
        lambda: all(one.health()["status"] == status for one in cluster.replicas),
        2 * TAKEOVER_SECONDS,
        lambda: str([one.health() for one in cluster.replicas]),
    )
    return [one.health() for one in cluster.replicas]


def test_health_of_every_replica_is_what_the_leader_sees(shared: Cluster) -> None:
    await_everywhere(shared, "ok")
    shared.supabase.respond_with(401, {"message": "Invalid API key"})
    post_user(shared, shared.standbys()[0], wait=0)
    for health in await_everywhere(shared, "degraded"):
        assert "Invalid API key" in str(health["checks"]["supabase"])
        assert health["backlog"]["pending"] == 1
    shared.supabase.heal()
    await_everywhere(shared, "ok")


@pytest.mark.parametrize(
    ("leave", "mend", "check", "reason"),
    [
        (
            _FREE,
            "DROP FUNCTION change_nothing CASCADE",
            "dispatcher",
            "no replica dispatches at the moment",
        ),
        (_SILENT, "UPDATE lease SET expires_at = 0", "supabase", "not reached yet"),
    ],
    ids=["free", "silent"],
)
def test_health_of_every_replica_is_degraded_without_a_leader(
    shared: Cluster, leave: str, mend: str, check: str, reason: str
) -> None:
    """All of them keep receiving, and one of them writes it as soon as it can."""
    await_everywhere(shared, "ok")
    shared.query(leave)
    try:
        await_everywhere(shared, "degraded")
        events = [post_user(shared, replica, wait=0) for replica in shared.replicas]
        assert {answer.status_code for answer in events} == {202}
        for health in await_everywhere(shared, "degraded"):
            assert health["checks"][check] == {"status": "degraded", "reason": reason}
            assert health["backlog"]["pending"] == len(events)
        assert shared.find_leader() is None
    finally:
        shared.query(mend)
    await_everywhere(shared, "ok")
    shared.await_settled()


def test_replay_asked_of_a_standby_completes(cluster: Cluster) -> None:
    start_all(cluster.replicas)
    cluster.deliver(cluster.backend.make_parents())
    cluster.settle()
    cluster.supabase.tables["users"].clear()
    (standby, _) = cluster.standbys()
    with standby.operator("replay:write") as operator:
        answer = operator.post("/replay", json={"all": True})
        assert (answer.status_code, answer.json()["status"]) == (202, "completed")
        replay = operator.get(f"/replay/{answer.json()['replay_id']}").json()
        assert replay["entities"] == replay["marked"] > 0
    cluster.settle()


async def test_replay_whose_leader_is_killed_while_it_marks_is_completed_by_the_next(
    cluster: Cluster,
) -> None:
    store = await Store.open(cluster.store_url)
    for _ in range(_USERS // 2000):
        worlds = [World() for _ in range(2000)]
        await store.store_events([world.user("created") for world in worlds], NOW)
    await store.close()
    cluster.supabase.respond_with(503, of=is_write)
    start_all(cluster.replicas)
    (standby, _) = cluster.standbys()
    marked = "SELECT marked FROM replays WHERE marked > 0"
    with standby.operator("replay:write") as operator:
        leader = cluster.await_leader()
        replay = operator.post("/replay", json={"all": True}, timeout=20).json()
        await_that(lambda: cluster.query(marked) != [], TAKEOVER_SECONDS)
        leader.kill()
        ((so_far,),) = cluster.query(marked)
        path = f"/replay/{replay['replay_id']}"
        await_that(lambda: operator.get(path).json()["status"] == "completed", 3 * TAKEOVER_SECONDS)
        assert 0 < so_far < _USERS
        assert operator.get(path).json()["marked"] == _USERS
