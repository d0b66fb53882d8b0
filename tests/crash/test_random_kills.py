"""`kill -9` at random moments under load: acknowledged events are applied, and no others."""

import os
import random
import time
from pathlib import Path
from typing import Final

import pytest

from tests.crash.scene import Scene, open_scene

ROUNDS: Final = int(os.environ.get("ROUNDS", "5"))
SEED: Final = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
# The oracle reads the whole store after every round; a larger store slows every round.
_ROUNDS_OF_A_STORE: Final = 10
_EVENTS: Final = 240
# The load lasts about half a second, and a start about one.
_LATEST_KILL_SECONDS: Final = 0.6
_LATEST_KILL_OF_A_START_SECONDS: Final = 1.5


@pytest.mark.timeout(60 + 15 * _ROUNDS_OF_A_STORE)
@pytest.mark.parametrize("first_round", range(0, ROUNDS, _ROUNDS_OF_A_STORE))
def test_relay_killed_at_random_moments_applies_what_it_acknowledged(
    tmp_path: Path, first_round: int
) -> None:
    """Repeat a failure with `SEED=… make crash`; the moments of the machine stay its own."""
    seed = SEED + first_round
    print(f"SEED={seed}")  # noqa: T201 - shown when it fails
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    with open_scene(tmp_path, seed) as scene:
        scene.relay.restart()
        scene.backend.deliver(scene.relay, scene.backend.make_parents())
        for number in range(first_round, min(first_round + _ROUNDS_OF_A_STORE, ROUNDS)):
            _kill_under_load(scene, dice)
            known, sent = len(scene.backend.acknowledged), len(scene.backend.sent)
            print(f"round {number}: {known} of {sent} acknowledged")  # noqa: T201 - likewise
            for _ in range(dice.choice((0, 0, 1))):
                _kill_while_starting(scene, dice)
            scene.relay.restart()
            if dice.random() < 0.7:
                scene.backend.deliver(scene.relay, scene.backend.unacknowledged)
                assert scene.backend.unacknowledged == []
            scene.settle()


def _kill_under_load(scene: Scene, dice: random.Random) -> None:
    history = scene.backend.make_history(_EVENTS)
    with scene.backend.delivering(scene.relay, history):
        time.sleep(dice.uniform(0, _LATEST_KILL_SECONDS))  # the moment is the test
        scene.relay.kill()


def _kill_while_starting(scene: Scene, dice: random.Random) -> None:
    scene.relay.launch()
    time.sleep(dice.uniform(0, _LATEST_KILL_OF_A_START_SECONDS))  # the moment is the test
    scene.relay.kill()
