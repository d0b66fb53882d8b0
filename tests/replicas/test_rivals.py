"""Two relays with stores of their own that write to one Supabase project, which is a mistake."""

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.crash.backend import Backend
from tests.crash.process import CrashingRelay
from tests.crash.scene import Scene
from tests.crash.supabase import serve_postgrest
from tests.e2e.conftest import await_that
from tests.fake_postgrest import FakePostgrest, is_write

_PATIENCE_SECONDS: Final = 60.0
_TURNS: Final = 4


@pytest.fixture
def rivals(tmp_path: Path) -> Iterator[list[Scene]]:
    """Two relays, started, each with a store and a backend of its own."""
    supabase = FakePostgrest()
    with serve_postgrest(supabase, lambda: 0.0) as url:
        settings = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": "sb_secret_of_a_fake"}
        scenes = []
        for number in range(2):
            folder = tmp_path / f"relay-{number}"
            folder.mkdir()
            backend = Backend(random.Random(number))  # noqa: S311 - rows, not secrets
            scenes.append(Scene(backend, CrashingRelay(settings, folder), supabase))
        try:
            for scene in scenes:
                scene.relay.restart()
            yield scenes
        finally:
            for scene in scenes:
                if scene.relay.process is not None:
                    scene.relay.stop(signal.SIGKILL)


def deliver_user(scene: Scene) -> None:
    event = scene.backend.make_event("user.created", scene.backend.user_row())
    scene.backend.deliver(scene.relay, [event])
    assert event.event_id in scene.backend.acknowledged


def read_epoch(request: httpx.Request) -> int:
    epoch: int = json.loads(json.loads(request.content)["request"])["epoch"]
    return epoch


def find_reason(scene: Scene) -> str:
    """Return why the dispatcher is degraded; None while it is not."""
    return str(scene.relay.health()["checks"]["dispatcher"].get("reason") or "")


def test_relays_that_share_a_project_apply_everything_and_say_so(rivals: list[Scene]) -> None:
    for _ in range(_TURNS):
        for scene in rivals:
            deliver_user(scene)
            scene.relay.await_settled()
    assert len(rivals[0].supabase.rows("users")) == 2 * _TURNS
    for scene in rivals:
        assert "another relay with a store of its own" in find_reason(scene)
        assert "another relay writes to this project" in scene.relay.log


def test_relay_restarted_alone_is_not_reported_as_two(rivals: list[Scene]) -> None:
    first, second = rivals
    second.relay.stop()
    for _ in range(_TURNS):
        first.relay.kill()
        first.relay.restart()
        deliver_user(first)
        first.relay.await_settled()
    assert find_reason(first) == ""


def test_request_of_a_claim_that_was_superseded_changes_nothing(rivals: list[Scene]) -> None:
    first, second = rivals
    supabase = first.supabase
    gate = supabase.hang(of=is_write)
    deliver_user(first)
    await_that(lambda: bool(supabase.writes), _PATIENCE_SECONDS)
    (held,) = supabase.writes
    supabase.hang(of=lambda _: False)
    deliver_user(second)
    second.relay.await_settled()
    superseded = supabase.epoch
    assert read_epoch(held) < superseded

    gate.set()
    first.relay.await_settled()
    # It came too late, and was sent once more under a claim of its own.
    *_, again = supabase.writes
    assert read_epoch(again) == supabase.epoch > superseded
    assert len(supabase.rows("users")) == 2
