"""Unique values that move between rows, and values that stay taken."""

import pytest

from app.domain.entities import EventStatus
from app.domain.events import Event
from tests.fake_postgrest import FakePostgrest
from tests.histories import World, ref_of
from tests.relay.harness import Bench, run_bench

UNIQUE = {"users": ("email", "username")}


def names(bench: Bench) -> dict[str | None, str | None]:
    return {row["id"]: row["username"] for row in bench.postgrest.rows("users")}


async def name_users(bench: Bench, *given: str) -> list[World]:
    """Create users with these names in Supabase."""
    worlds = [World() for _ in given]
    for world, name in zip(worlds, given, strict=True):
        await bench.receive(world.user("created", name=name))
    await bench.drain()
    assert names(bench) == {w.users[0]: name for w, name in zip(worlds, given, strict=True)}
    return worlds


@pytest.mark.parametrize("is_together", [True, False])
@pytest.mark.parametrize("count", [2, 3, 7])
async def test_users_exchanging_names_in_a_cycle_all_get_them(
    store_url: str, count: int, *, is_together: bool
) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        given = [f"name-{n}" for n in range(count)]
        worlds = await name_users(bench, *given)
        moved = [*given[1:], given[0]]
        events = [
            world.user("updated", at=1, name=name)
            for world, name in zip(worlds, moved, strict=True)
        ]
        if is_together:
            await bench.receive(*events)
        for event in events if not is_together else []:
            await bench.receive(event)
            await bench.drain()
        await bench.settle()
        assert names(bench) == {w.users[0]: n for w, n in zip(worlds, moved, strict=True)}
        assert set(await bench.statuses_of(*events)) == {EventStatus.APPLIED}


async def test_users_swapping_names_are_applied_once_both_events_arrive(store_url: str) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        worlds = await name_users(bench, "a", "b")
        first = worlds[0].user("updated", at=1, name="b")
        await bench.receive(first)
        await bench.drain()
        second = worlds[1].user("updated", at=1, name="a")
        await bench.receive(second)
        # No clock moves: neither user waits for a backoff.
        await bench.drain()
        assert await bench.statuses_of(first, second) == [EventStatus.APPLIED] * 2


@pytest.mark.parametrize("is_reversed", [True, False])
async def test_users_in_a_chain_each_get_the_name_that_the_next_frees(
    store_url: str, *, is_reversed: bool
) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        given = [f"name-{n}" for n in range(8)]
        worlds = await name_users(bench, *given)
        events = [
            world.user("updated", at=1, name=name)
            for world, name in zip(worlds, [*given[1:], "free"], strict=True)
        ]
        await bench.receive(*(reversed(events) if is_reversed else events))
        await bench.settle(rounds=10)
        assert set(await bench.statuses_of(*events)) == {EventStatus.APPLIED}


async def test_user_whose_name_stays_taken_is_dead_after_ten_attempts(
    store_url: str,
) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        (world,) = await name_users(bench, "mine")
        stranger = {"id": "somebody", "email": "x@example.com", "username": "taken"}
        bench.postgrest.tables["users"]["somebody",] = dict(stranger)
        event = world.user("updated", at=1, name="taken")
        await bench.receive(event)
        before = len(bench.postgrest.writes)
        await bench.settle(rounds=20)
        assert await bench.status_of(event) is EventStatus.DEAD
        assert len(bench.postgrest.writes) - before == 10
        assert names(bench) == {world.users[0]: "mine", "somebody": "taken"}
        del bench.postgrest.tables["users"]["somebody",]
        await _revive(bench, world)
        assert names(bench) == {world.users[0]: "taken"}


async def test_users_in_a_cycle_get_their_names_beside_a_dead_one(
    store_url: str,
) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        worlds = await name_users(bench, "a", "b", "c")
        bench.postgrest.tables["users"]["somebody",] = {
            "id": "somebody",
            "email": "x@example.com",
            "username": "taken",
        }
        events: list[Event] = [
            worlds[0].user("updated", at=1, name="b"),
            worlds[1].user("updated", at=1, name="a"),
            worlds[2].user("updated", at=1, name="taken"),
        ]
        await bench.receive(*events)
        await bench.settle(rounds=20)
        assert await bench.statuses_of(*events) == [
            EventStatus.APPLIED,
            EventStatus.APPLIED,
            EventStatus.DEAD,
        ]
        assert names(bench)[worlds[0].users[0]] == "b"
        assert names(bench)[worlds[1].users[0]] == "a"
        assert ref_of(events[2]) in bench.held(), "the row stays, and what refers to it"


async def _revive(bench: Bench, world: World) -> None:
    event = world.user("updated", at=2, name="taken")
    await bench.receive(event)
    await bench.drain()
    assert await bench.status_of(event) is EventStatus.APPLIED


async def test_conflicts_of_others_count_no_attempts_of_a_waiting_user(store_url: str) -> None:
    async with run_bench(store_url, FakePostgrest(unique=UNIQUE)) as bench:
        await name_users(bench, "taken")
        waiting = World().user("created", name="taken")
        await bench.receive(waiting)
        await bench.drain()
        for _ in range(20):
            await bench.receive(World().user("created", name="taken"))
            # No clock moves: another user brought every attempt of the waiting one forward.
            await bench.drain()
        assert await bench.status_of(waiting) is EventStatus.PENDING
        assert (await bench.view(waiting)).attempts <= 3
