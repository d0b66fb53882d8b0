"""How long access lasted after its revocation, with Supabase faked at the wire."""

from app.domain.entities import EventStatus
from app.domain.events import Event
from app.domain.exposure import ExposureFilter, ExposureReport
from app.domain.instants import Instant, from_seconds
from app.store import revocation_queries
from tests.histories import NOW, World
from tests.relay.harness import Harness, picks
from tests.store.store_steps import replay

# `at` of an event that happens at NOW.
AT_ONCE = 3600


async def measure(harness: Harness) -> ExposureReport:
    return await harness.store.scan(
        revocation_queries.read_exposure,
        ExposureFilter(Instant(0)),
        from_seconds(harness.clock()),
        200,
    )


async def list_seconds(harness: Harness) -> list[tuple[str, float, float, bool]]:
    """Return key, exposed seconds, seconds in the relay and whether it still lasts."""
    return [
        (each.key, each.exposed_seconds, each.relay_seconds, each.applied_at is None)
        for each in (await measure(harness)).revocations
    ]


async def give_access(harness: Harness, world: World) -> None:
    members = [world.membership("created", 0, user) for user in (0, 1)]
    await harness.receive(world.user("created"), world.user("created", 1), world.trip("created"))
    await harness.receive(*members)
    await harness.drain()
    assert set(await harness.statuses_of(*members)) == {EventStatus.APPLIED}


async def recover_after(harness: Harness, seconds: float) -> None:
    """End an outage after so many seconds, just when the dispatcher asks again."""
    await harness.drain()
    harness.advance(seconds)
    harness.postgrest.heal()
    await harness.drain()


async def test_exposure_during_an_outage_is_as_long_as_the_outage(harness: Harness) -> None:
    world = World()
    await give_access(harness, world)
    harness.postgrest.respond_with(503)
    removed = world.membership("deleted", at=AT_ONCE - 2)
    await harness.receive(removed)
    await harness.drain()
    harness.advance(600)
    assert await list_seconds(harness) == [(removed.key, 602, 600, True)]
    await recover_after(harness, 1800)
    assert await list_seconds(harness) == [(removed.key, 2402, 2400, False)]
    harness.advance(600)
    assert await list_seconds(harness) == [(removed.key, 2402, 2400, False)]
    assert (await measure(harness)).summary.maximum_seconds == 2402


async def test_exposure_is_not_changed_by_a_replay_that_removes_again(harness: Harness) -> None:
    world = World()
    await give_access(harness, world)
    removed = world.membership("deleted", at=AT_ONCE)
    await harness.receive(removed)
    harness.advance(3)
    await harness.drain()
    before = await list_seconds(harness)
    assert before == [(removed.key, 3, 3, False)]
    harness.advance(100)
    await replay(harness.store, now=from_seconds(harness.clock()))
    assert await list_seconds(harness) == before
    await harness.drain()
    assert await harness.status_of(removed) is EventStatus.APPLIED
    assert await list_seconds(harness) == before


async def test_exposure_of_a_cascade_ends_when_each_row_is_gone(harness: Harness) -> None:
    """One membership is locked for ten minutes; the other one is gone at once."""
    world = World()
    await give_access(harness, world)
    free, locked = (world.membership("deleted", 0, user, at=AT_ONCE) for user in (0, 1))
    harness.postgrest.fail_row(picks(locked), "55P03", "locked")
    await harness.receive(world.trip("deleted", at=AT_ONCE))
    harness.advance(1)
    await harness.drain()
    harness.advance(599)
    await harness.drain()
    assert await list_seconds(harness) == [
        (locked.key, 600, 600, True),
        (free.key, 1, 1, False),
    ]
    harness.postgrest.heal()
    harness.advance(60)
    await harness.settle()
    assert await list_seconds(harness) == [
        (locked.key, 660, 660, False),
        (free.key, 1, 1, False),
    ]


async def test_exposure_of_a_membership_removed_twice_has_both_windows(harness: Harness) -> None:
    world = World()
    await give_access(harness, world)

    async def change(event: Event, *, seconds: float) -> None:
        await harness.receive(event)
        harness.advance(seconds)
        await harness.drain()

    removed = world.membership("deleted", at=AT_ONCE)
    await change(removed, seconds=5)
    await change(world.membership("created", at=AT_ONCE + 5), seconds=5)
    await change(world.membership("updated", status="INACTIVE", at=AT_ONCE + 10), seconds=7)
    assert await list_seconds(harness) == [
        (removed.key, 7, 7, False),
        (removed.key, 5, 5, False),
    ]
    assert harness.clock() * 1_000_000 == NOW + 17_000_000


async def test_exposure_of_a_revocation_superseded_during_an_outage_is_not_counted(
    harness: Harness,
) -> None:
    world = World()
    await give_access(harness, world)
    harness.postgrest.respond_with(503)
    await harness.receive(world.membership("deleted", at=AT_ONCE))
    await harness.receive(world.membership("created", at=AT_ONCE + 1))
    await recover_after(harness, 600)
    assert await list_seconds(harness) == []
