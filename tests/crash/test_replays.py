"""`kill -9` in the middle of a replay of a larger store: the next process goes on where it was."""

import sqlite3
import threading
from contextlib import closing
from typing import Any, Final

import httpx
import pytest

from tests.crash.scene import Scene
from tests.e2e.conftest import await_that

USERS: Final = 40_000
_PER_BATCH: Final = 1000
_PATIENCE_SECONDS: Final = 60.0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("filter_", [{"all": True}, {"types": ["user.*"]}], ids=["all", "types"])
def test_relay_killed_in_a_replay_goes_on_with_it(scene: Scene, filter_: dict[str, Any]) -> None:
    scene.relay.restart()
    _fill(scene)
    written = scene.supabase.rows("users")
    assert len(written) == USERS
    scene.supabase.tables["users"].clear()

    asking = threading.Thread(target=_ask, args=(scene, filter_))
    asking.start()
    await_that(lambda: _read_replay(scene)[1] > 0, _PATIENCE_SECONDS, lambda: scene.relay.log)
    scene.relay.kill()
    asking.join()
    status, marked = _read_replay(scene)
    assert status == "running", "it was over before it could be killed: the store is too small"
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


def _ask(scene: Scene, filter_: dict[str, Any]) -> None:
    """Ask for a replay; the relay may die before it answers."""
    with scene.relay.operator("replay:write") as operator:
        try:
            operator.post("/replay", json=filter_)
        except httpx.TransportError:
            return


def _read_replay(scene: Scene) -> tuple[str, int]:
    with closing(sqlite3.connect(f"file:{scene.relay.database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT status, marked FROM replays").fetchone()
    return ("", 0) if found is None else (found[0], found[1])
