"""`kill -9` in the middle of a replay: the next process resumes it."""

import sqlite3
from contextlib import closing
from typing import Any, Final

import httpx
import pytest

from app.domain.failpoints import Failpoint
from tests.crash.scene import Scene
from tests.e2e.conftest import await_that

# Ten chunks.
USERS: Final = 10_000
_PER_BATCH: Final = 1000
# A start commits three times at most, and the request for the replay once.
_COMMITS_BEFORE_DEATH: Final = 7
_PATIENCE_SECONDS: Final = 60.0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("filter_", [{"all": True}, {"types": ["user.*"]}], ids=["all", "types"])
def test_relay_killed_in_a_replay_resumes_it(scene: Scene, filter_: dict[str, Any]) -> None:
    scene.relay.restart()
    _fill(scene)
    written = scene.supabase.rows("users")
    assert len(written) == USERS
    scene.supabase.tables["users"].clear()

    scene.relay.stop()
    scene.relay.restart(f"{Failpoint.AFTER_COMMIT}:{_COMMITS_BEFORE_DEATH}")
    _request_replay(scene, filter_)
    scene.relay.await_death()
    status, marked = _read_replay(scene)
    assert status == "running"
    assert 0 < marked < USERS

    scene.relay.restart()
    await_that(
        lambda: _read_replay(scene)[0] == "completed", _PATIENCE_SECONDS, lambda: scene.relay.log
    )
    await_that(
        lambda: scene.relay.health()["backlog"]["pending"] == 0,
        _PATIENCE_SECONDS,
        lambda: scene.relay.log,
    )
    with scene.relay.operator("replay:write") as operator:
        (report,) = operator.get("/replay").json()["replays"]
    assert (report["status"], report["entities"], report["marked"]) == ("completed", USERS, USERS)
    assert (report["applied"], report["waiting"], report["dead"]) == (USERS, 0, 0)
    assert scene.supabase.rows("users") == written


def _fill(scene: Scene) -> None:
    for _ in range(USERS // _PER_BATCH):
        events = [
            scene.backend.make_event("user.created", scene.backend.user_row())
            for _ in range(_PER_BATCH)
        ]
        scene.backend.deliver_together(scene.relay, events)
    assert not scene.backend.surprises
    assert len(scene.backend.acknowledged) == USERS
    await_that(
        lambda: scene.relay.health()["backlog"]["pending"] == 0,
        _PATIENCE_SECONDS,
        lambda: scene.relay.log,
    )


def _request_replay(scene: Scene, filter_: dict[str, Any]) -> None:
    """Request a replay; the relay may die before it responds."""
    with scene.relay.operator("replay:write") as operator:
        try:
            operator.post("/replay", json=filter_)
        except httpx.TransportError:
            return


def _read_replay(scene: Scene) -> tuple[str, int]:
    with closing(sqlite3.connect(f"file:{scene.relay.database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT status, marked FROM replays").fetchone()
    return ("", 0) if found is None else (found[0], found[1])
