"""Kills and pauses of any replica at random moments, under load, before a failing Supabase."""

import os
import random
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from app.cli.client.signing import sign_body
from tests.crash.backend import Delivery
from tests.e2e.conftest import await_that
from tests.fake_postgrest import is_write
from tests.postgres import PostgresServer
from tests.replicas.cluster import Cluster, Replica, open_cluster, start_all
from tests.stores import create_postgres_store

ROUNDS: Final = int(os.environ.get("ROUNDS", "3"))
SEED: Final = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
_ROUNDS_OF_A_STORE: Final = 10
_EVENTS: Final = 300
_BLOWS: Final = 4
_LATEST_BLOW_SECONDS: Final = 0.5
# Longer than the lease, so that another replica leads by its end.
_LONG_PAUSE_SECONDS: Final = 4.0


@pytest.mark.timeout(120 + 60 * _ROUNDS_OF_A_STORE)
@pytest.mark.parametrize("first_round", range(0, ROUNDS, _ROUNDS_OF_A_STORE))
def test_replicas_killed_and_paused_at_random_apply_what_they_acknowledged(
    tmp_path: Path, postgres: PostgresServer, first_round: int
) -> None:
    """Repeat a failure with `SEED=… make crash-replicas`; the machine's moments stay its own."""
    seed = SEED + first_round
    print(f"SEED={seed}")  # noqa: T201 - shown when it fails
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    with open_cluster(tmp_path, create_postgres_store(postgres), 3, seed=seed) as cluster:
        start_all(cluster.replicas)
        cluster.deliver(cluster.backend.make_parents())
        for number in range(first_round, min(first_round + _ROUNDS_OF_A_STORE, ROUNDS)):
            with cluster.delivering(cluster.backend.make_history(_EVENTS)):
                paused = _strike(cluster, dice)
                if dice.random() < 0.7:
                    time.sleep(dice.uniform(0, _LONG_PAUSE_SECONDS))  # the pause is the test
                for replica in paused:
                    replica.resume()
            known, sent = len(cluster.backend.acknowledged), len(cluster.backend.sent)
            print(f"round {number}: {known} of {sent} acknowledged")  # noqa: T201 - likewise
            cluster.supabase.heal()
            start_all(replica for replica in cluster.replicas if not replica.is_alive)
            if dice.random() < 0.7:
                cluster.deliver(cluster.backend.unacknowledged)
            _let_the_late_ones_land(cluster)
            cluster.settle()


def _strike(cluster: Cluster, dice: random.Random) -> list[Replica]:
    """Kill and pause some, have Supabase fail, and give those that are paused."""
    paused: list[Replica] = []
    for _ in range(_BLOWS):
        time.sleep(dice.uniform(0, _LATEST_BLOW_SECONDS))  # the moment is the test
        replica = dice.choice(cluster.replicas)
        match dice.choice(("kill", "pause", "pause", "resume", "fail")):
            case "kill" if replica.is_alive:
                replica.kill()
                if replica in paused:
                    paused.remove(replica)
            case "pause" if replica.is_alive and replica not in paused:
                replica.pause()
                paused.append(replica)
            case "resume" if paused:
                paused.pop().resume()
            case "fail":
                _fail(cluster, dice)
            case _:
                pass
    return paused


def _fail(cluster: Cluster, dice: random.Random) -> None:
    """Let some of the writes fail from now on, applied or not."""
    # Its own randomness: how many requests there are must not move what is thrown next.
    chance = random.Random(dice.random())  # noqa: S311
    match dice.choice(("refuse", "lose", "heal")):
        case "refuse":
            cluster.supabase.respond_with(503, of=lambda r: is_write(r) and chance.random() < 0.2)
        case "lose":
            cluster.supabase.lose_responses(of=lambda r: is_write(r) and chance.random() < 0.2)
        case _:
            cluster.supabase.heal()


def _let_the_late_ones_land(cluster: Cluster) -> None:
    """Have every replica answer something applied: what it was paused before is done by then."""
    for replica in cluster.replicas:
        row = cluster.backend.user_row()
        event = cluster.backend.make_event("user.created", row)
        await_that(partial(_is_applied, cluster, replica, event), 60, lambda: cluster.relay.log)


def _is_applied(cluster: Cluster, replica: Replica, event: Delivery) -> bool:
    headers = sign_body(replica.secret, event.body, event_id=event.event_id, wait_seconds=10)
    answer = replica.post_body(event.body, headers)
    if answer.is_success:
        cluster.backend.acknowledged.add(event.event_id)
    return answer.is_success and answer.json()["status"] == "applied"
