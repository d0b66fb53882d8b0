"""Unique values that move between rows, and values that stay taken."""

import pytest

from app.domain.entities import EventStatus
from app.domain.events import Event
from tests.fake_postgrest import FakePostgrest
from tests.histories import World, ref_of
from tests.relay.harness import Harness, run_harness

UNIQUE = {"users": ("email", "username")}


def names(harness: Harness) -> dict[str | None, str | None]:
    return {row["id"]: row["username"] for row in harness.postgrest.rows("users")}


async def name_users(harness: Harness, *given: str) -> list[World]:
    """Create users with these names in Supabase."""
    worlds = [World() for _ in given]
    for world, name in zip(worlds, given, strict=True):
        await harness.receive(world.user("created", name=name))
    await harness.drain()
    assert names(harness) == {w.users[0]: name for w, name in zip(worlds, given, strict=True)}
    return worlds


@pytest.mark.parametrize("is_together", [True, False])
@pytest.mark.parametrize("count", [2, 3, 7])
async def test_users_exchanging_names_in_a_cycle_all_get_them(
    store_url: str, count: int, *, is_together: bool
) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        given = [f"name-{n}" for n in range(count)]
        worlds = await name_users(harness, *given)
        moved = [*given[1:], given[0]]
        events = [
            world.user("updated", at=1, name=name)
            for world, name in zip(worlds, moved, strict=True)
        ]
        if is_together:
            await harness.receive(*events)
        for event in events if not is_together else []:
            await harness.receive(event)
            await harness.drain()
        await harness.settle()
        assert names(harness) == {w.users[0]: n for w, n in zip(worlds, moved, strict=True)}
        assert set(await harness.statuses_of(*events)) == {EventStatus.APPLIED}


async def test_users_swapping_names_are_applied_once_both_events_arrive(store_url: str) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        worlds = await name_users(harness, "a", "b")
        first = worlds[0].user("updated", at=1, name="b")
        await harness.receive(first)
        await harness.drain()
        second = worlds[1].user("updated", at=1, name="a")
        await harness.receive(second)
        # No clock moves: neither user waits for a backoff.
        await harness.drain()
        assert await harness.statuses_of(first, second) == [EventStatus.APPLIED] * 2


@pytest.mark.parametrize("is_reversed", [True, False])
async def test_users_in_a_chain_each_get_the_name_that_the_next_frees(
    store_url: str, *, is_reversed: bool
) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        given = [f"name-{n}" for n in range(8)]
        worlds = await name_users(harness, *given)
        events = [
            world.user("updated", at=1, name=name)
            for world, name in zip(worlds, [*given[1:], "free"], strict=True)
        ]
        await harness.receive(*(reversed(events) if is_reversed else events))
        await harness.settle(rounds=10)
        assert set(await harness.statuses_of(*events)) == {EventStatus.APPLIED}


async def test_user_whose_name_stays_taken_is_dead_after_ten_attempts(
    store_url: str,
) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        (world,) = await name_users(harness, "mine")
        stranger = {"id": "somebody", "email": "x@example.com", "username": "taken"}
        harness.postgrest.tables["users"]["somebody",] = dict(stranger)
        event = world.user("updated", at=1, name="taken")
        await harness.receive(event)
        before = len(harness.postgrest.writes)
        await harness.settle(rounds=20)
        assert await harness.status_of(event) is EventStatus.DEAD
        assert len(harness.postgrest.writes) - before == 10
        assert names(harness) == {world.users[0]: "mine", "somebody": "taken"}
        del harness.postgrest.tables["users"]["somebody",]
        await _revive(harness, world)
        assert names(harness) == {world.users[0]: "taken"}


async def test_users_in_a_cycle_get_their_names_beside_a_dead_one(
    store_url: str,
) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        worlds = await name_users(harness, "a", "b", "c")
        harness.postgrest.tables["users"]["somebody",] = {
            "id": "somebody",
            "email": "x@example.com",
            "username": "taken",
        }
        events: list[Event] = [
            worlds[0].user("updated", at=1, name="b"),
            worlds[1].user("updated", at=1, name="a"),
            worlds[2].user("updated", at=1, name="taken"),
        ]
        await harness.receive(*events)
        await harness.settle(rounds=20)
        assert await harness.statuses_of(*events) == [
            EventStatus.APPLIED,
            EventStatus.APPLIED,
            EventStatus.DEAD,
        ]
        assert names(harness)[worlds[0].users[0]] == "b"
        assert names(harness)[worlds[1].users[0]] == "a"
        assert ref_of(events[2]) in harness.held(), "the row stays, and what refers to it"


async def _revive(harness: Harness, world: World) -> None:
    event = world.user("updated", at=2, name="taken")
    await harness.receive(event)
    await harness.drain()
    assert await harness.status_of(event) is EventStatus.APPLIED


async def test_conflicts_of_others_count_no_attempts_of_a_waiting_user(store_url: str) -> None:
    async with run_harness(store_url, FakePostgrest(unique=UNIQUE)) as harness:
        await name_users(harness, "taken")
        waiting = World().user("created", name="taken")
        await harness.receive(waiting)
        await harness.drain()
        for _ in range(20):
            await harness.receive(World().user("created", name="taken"))
            # No clock moves: another user brought every attempt of the waiting one forward.
            await harness.drain()
        assert await harness.status_of(waiting) is EventStatus.PENDING
        assert (await harness.view(waiting)).attempts <= 3
