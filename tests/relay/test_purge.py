"""Forgetting old events."""

from app.domain.instants import MICROSECONDS_PER_SECOND, after
from app.relay.purge import Purger
from app.store.store import Store
from tests.auth.issuer import Clock
from tests.histories import NOW, World, ref_of
from tests.store.actions import pick_pending

DAY = 86_400.0


def make_purger(store: Store, *, days_later: float) -> Purger:
    clock = Clock(NOW / MICROSECONDS_PER_SECOND + days_later * DAY)
    return Purger(store, clock=clock, retention_days=30)


async def test_purge_forgets_events_past_their_retention_and_keeps_their_entities(
    store: Store,
) -> None:
    old = [World().trip("created") for _ in range(1200)]
    await store.store_events(old, NOW)
    young = World().trip("created")
    await store.store_events([young], after(NOW, DAY))
    assert await make_purger(store, days_later=30.5).purge() == 1200
    assert await store.find_event(old[0].event_id) is None
    assert await store.find_event(young.event_id) is not None
    pending = {entity.ref for entity in await pick_pending(store, after(NOW, DAY), 2000)}
    assert pending == {ref_of(event) for event in (*old, young)}


async def test_purge_before_the_retention_has_passed_forgets_nothing(store: Store) -> None:
    event = World().trip("created")
    await store.store_events([event], NOW)
    assert await make_purger(store, days_later=30).purge() == 0
    assert await store.find_event(event.event_id) is not None


async def test_purged_event_that_comes_again_brings_nothing_back(store: Store) -> None:
    world = World()
    created = world.membership("created", at=1)
    await store.store_events([created, world.membership("deleted", at=2)], NOW)
    assert await make_purger(store, days_later=31).purge() == 2
    await store.store_events([created], after(NOW, 31 * DAY))
    (entity,) = await pick_pending(store, after(NOW, 31 * DAY), 10)
    assert entity.row is None


async def test_purge_never_gives_a_sequence_twice(store: Store) -> None:
    world = World()
    await store.store_events([world.trip("created", at=1)], NOW)
    assert await make_purger(store, days_later=31).purge() == 1
    later = world.trip("updated", at=2, name="Porto")
    await store.store_events([later], after(NOW, 31 * DAY))
    found = await store.find_event(later.event_id)
    assert found is not None
    assert found.sequence == 2
