"""Exactly one replica dispatches, even after kills and pauses."""

import signal
from typing import Final

import httpx
import pytest

from app.domain.failpoints import Failpoint
from tests.crash.backend import Delivery
from tests.e2e.conftest import await_that
from tests.fake_postgrest import is_write
from tests.replicas.cluster import SETTLE_SECONDS, TAKEOVER_SECONDS, Cluster, Replica, start_all

_LOST: Final = "another replica dispatches"


def deliver_user(cluster: Cluster, to: Replica, name: str, user: str | None = None) -> Delivery:
    event = cluster.backend.make_event("user.created", cluster.backend.user_row(user, name))
    cluster.backend.deliver(to, [event])
    assert event.event_id in cluster.backend.acknowledged, to.log
    return event


def usernames(cluster: Cluster, user: str | None = None) -> list[str | None]:
    """Return the names at Supabase, of all users or of one."""
    rows = cluster.supabase.rows("users")
    return [row["username"] for row in rows if user in (None, row["id"])]


def start_with_leader(cluster: Cluster, failpoint: str | None = None) -> tuple[Replica, Replica]:
    """Start the first replica, then the others; give the one that leads, and another."""
    first, *others = cluster.replicas
    first.restart(failpoint)
    assert cluster.await_leader() is first
    start_all(others)
    return first, others[0]


def test_replicas_all_receive_and_one_writes(shared: Cluster) -> None:
    shared.writers()
    shared.deliver(shared.backend.make_parents())
    shared.deliver(shared.backend.make_history(300))
    assert shared.backend.unacknowledged == []
    shared.settle()
    assert shared.writers() == {shared.await_leader().name}


def test_replica_that_is_killed_is_followed_within_seconds(shared: Cluster) -> None:
    leader, (standby, _) = shared.await_leader(), shared.standbys()
    deliver_user(shared, standby, "before a kill")
    shared.settle()
    shared.writers()
    leader.kill()
    deliver_user(shared, standby, "after a kill")
    await_that(lambda: "after a kill" in usernames(shared), TAKEOVER_SECONDS, lambda: standby.log)
    assert leader.name not in shared.writers()


def test_replica_that_is_stopped_gracefully_is_followed_at_once(shared: Cluster) -> None:
    leader, (standby, _) = shared.await_leader(), shared.standbys()
    deliver_user(shared, standby, "before a stop")
    shared.settle()
    assert leader.process is not None
    leader.process.send_signal(signal.SIGTERM)
    leader.process.wait(60)
    # Released, not left to expire: the others need not wait for it.
    ((holder, expires_at),) = shared.query("SELECT holder, expires_at FROM lease")
    assert expires_at == 0 or not holder.endswith(f"/{leader.process.pid}")
    leader.process = None
    deliver_user(shared, standby, "after a stop")
    await_that(lambda: "after a stop" in usernames(shared), SETTLE_SECONDS, lambda: standby.log)


@pytest.mark.parametrize(
    ("failpoint", "is_written"),
    [
        (f"{Failpoint.BEFORE_WRITE}:2:stop", False),  # claimed, and nothing sent
        (f"{Failpoint.AFTER_WRITE}:2:stop", True),  # answered, and nothing recorded
    ],
)
def test_replica_paused_past_its_lease_records_nothing_and_leaves_nothing_stale(
    cluster: Cluster, failpoint: str, *, is_written: bool
) -> None:
    leader, standby = start_with_leader(cluster, failpoint)
    user = cluster.backend.user_row()["id"]
    deliver_user(cluster, standby, "first", user)
    cluster.await_settled()
    deliver_user(cluster, standby, "stale", user)
    leader.await_pause()
    assert usernames(cluster) == ["stale" if is_written else "first"]
    cluster.await_leader(leader)
    deliver_user(cluster, standby, "newer", user)
    await_that(lambda: usernames(cluster) == ["newer"], TAKEOVER_SECONDS)
    cluster.await_settled()
    cluster.writers()

    leader.resume()
    await_that(lambda: _LOST in leader.log, TAKEOVER_SECONDS)
    deliver_user(cluster, leader, "newest", user)
    cluster.settle()
    assert usernames(cluster) == ["newest"]
    assert leader.name not in cluster.writers()


@pytest.mark.parametrize(
    ("point", "count"),
    [
        # A start needs at most three.
        (Failpoint.BEFORE_COMMIT, 5),
        (Failpoint.AFTER_COMMIT, 5),
    ],
)
def test_replica_paused_at_any_commit_delays_no_other_and_leaves_nothing_stale(
    cluster: Cluster, point: Failpoint, count: int
) -> None:
    """Its own commits are records and the like; each locks the lease until it ends."""
    leader, standby = start_with_leader(cluster, f"{point}:{count}:stop")
    user = cluster.backend.user_row()["id"]
    for number in range(3):
        if not leader.is_paused:
            deliver_user(cluster, standby, f"stale-{number}", user)
            await_that(lambda: leader.is_paused or is_settled(cluster), TAKEOVER_SECONDS)
    leader.await_pause()
    deliver_user(cluster, standby, "newer", user)
    await_that(lambda: usernames(cluster) == ["newer"], 2 * TAKEOVER_SECONDS, lambda: standby.log)
    leader.resume()
    deliver_user(cluster, standby, "newest", user)
    cluster.settle()
    assert usernames(cluster) == ["newest"]


@pytest.mark.parametrize("lands", [False, True], ids=["request held", "answer held"])
def test_replica_paused_while_supabase_is_asked_leaves_nothing_stale(
    shared: Cluster, *, lands: bool
) -> None:
    """A request that arrives after a takeover changes nothing."""
    leader, (standby, _) = shared.await_leader(), shared.standbys()
    user = shared.backend.user_row()["id"]
    shared.writers()
    lost_before = leader.log.count(_LOST)
    gate = shared.supabase.hang(of=is_write, lands=lands)
    deliver_user(shared, standby, "stale", user)
    await_that(lambda: bool(shared.supabase.writes), TAKEOVER_SECONDS)
    (held,) = shared.supabase.writes
    leader.pause()
    shared.supabase.hang(of=lambda _: False)
    shared.await_leader(leader)
    deliver_user(shared, standby, "newer", user)
    await_that(lambda: usernames(shared, user) == ["newer"], TAKEOVER_SECONDS)
    shared.await_settled()

    shared.release(gate)
    # It has been refused by the time that this one, sent like it, is answered.
    late = httpx.post(
        leader.settings["SUPABASE_URL"] + held.url.path,
        headers={"apikey": "the-network"},
        content=held.content,
    )
    assert (late.status_code, late.json()["code"]) == (409, "PT409")
    assert usernames(shared, user) == ["newer"]
    leader.resume()
    await_that(lambda: leader.log.count(_LOST) > lost_before, TAKEOVER_SECONDS, lambda: leader.log)
    assert usernames(shared, user) == ["newer"]
    shared.settle()


def is_settled(cluster: Cluster) -> bool:
    return cluster.query("SELECT count(*) FROM entities WHERE state = 'pending'") == [(0,)]
