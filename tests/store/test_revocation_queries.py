"""When each revocation was in force: what is recorded, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from app.domain.drift import Difference, DifferenceKind, Effect, Origin, Repair
from app.domain.entities import EntityKey, Kind
from app.domain.events import Event
from app.domain.instants import Instant, after
from app.store import repair_queries
from app.store.outcome_queries import Applied
from app.store.schema import entities, revocations
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, histories, ref_of
from tests.store.revocation_steps import apply, list_windows, measure, receive, start
from tests.store.store_steps import claim, have_refused, record, replay


@pytest.mark.parametrize(
    ("action", "status"), [("deleted", "ACTIVE"), ("updated", "INACTIVE"), ("created", "INACTIVE")]
)
async def test_exposure_lasts_from_the_change_until_supabase_holds_it(
    store: Store, action: str, status: str
) -> None:
    world = World()
    await start(store, world)
    assert await list_windows(store) == []
    removed = world.membership(action, at=3600 + 5, status=status)
    await receive(store, removed, at=7)
    assert await list_windows(store) == [(removed.key, 5, 7, None)]
    await apply(store, at=10)
    assert await list_windows(store) == [(removed.key, 5, 7, 10)]
    (revocation,) = (await measure(store)).revocations
    assert (revocation.exposed_seconds, revocation.relay_seconds) == (5, 3)


@pytest.mark.parametrize("parent", ["trip", "user"])
async def test_exposure_of_a_cascade_ends_with_each_membership(store: Store, parent: str) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("created", 1, 0))
    await apply(store, at=1)
    await receive(store, getattr(world, parent)("deleted", 0, at=3600 + 5), at=7)
    fell = {world.membership("created", 0, 0).key}
    fell |= {world.membership("created", *((0, 1) if parent == "trip" else (1, 0))).key}
    first, second = await claim(store, after(NOW, 8), 2)
    assert {first.ref.key, second.ref.key} == fell
    await record(store, [Applied(first)], after(NOW, 10))
    assert await list_windows(store) == [
        (second.ref.key, 5, 7, None),
        (first.ref.key, 5, 7, 10),
    ]
    await record(store, [Applied(second)], after(NOW, 20))
    assert await list_windows(store) == [
        (second.ref.key, 5, 7, 20),
        (first.ref.key, 5, 7, 10),
    ]


async def test_exposure_of_a_membership_removed_twice_has_both_windows(store: Store) -> None:
    world = World()
    await start(store, world)
    first = world.membership("deleted", at=3600 + 1)
    await receive(store, first, at=1)
    await apply(store, at=2)
    await receive(store, world.membership("created", at=3600 + 3), at=3)
    await apply(store, at=4)
    await receive(store, world.membership("deleted", at=3600 + 5), at=5)
    await apply(store, at=9)
    assert await list_windows(store) == [(first.key, 5, 5, 9), (first.key, 1, 1, 2)]


async def test_exposure_is_not_changed_by_a_replay(store: Store) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600), at=1)
    await apply(store, at=2)
    before = await list_windows(store)
    await replay(store, now=after(NOW, 100))
    assert await list_windows(store) == before, "a replayed revocation is in force"
    await apply(store, at=101)
    assert await list_windows(store) == before


async def test_exposure_is_not_changed_by_a_revocation_without_access(store: Store) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("updated", at=3600, status="INACTIVE"), at=1)
    await apply(store, at=2)
    before = await list_windows(store)
    assert len(before) == 1
    for at, event in enumerate(
        [
            world.membership("updated", at=3600 + 10, status="INACTIVE", role="ADMIN"),
            world.membership("deleted", at=3600 + 11),
            world.membership("deleted", at=3600 + 12),
            world.trip("deleted", at=3600 + 13),
        ],
        start=10,
    ):
        await receive(store, event, at=at)
        assert [each for each in await list_windows(store) if each[0] == before[0][0]] == before
        await apply(store, at=at + 1)
        await replay(store, now=after(NOW, at + 1))
        await apply(store, at=at + 1)
        assert [each for each in await list_windows(store) if each[0] == before[0][0]] == before


async def test_exposure_of_revocations_in_a_row_begins_with_the_first(store: Store) -> None:
    """An outage in which a membership is removed, and later its trip."""
    world = World()
    await start(store, world)
    removed = world.membership("updated", at=3600 + 1, status="INACTIVE")
    await receive(store, removed, at=2)
    await receive(store, world.membership("deleted", at=3600 + 10), at=11)
    await receive(store, world.trip("deleted", at=3600 + 20), at=21)
    await apply(store, at=30)
    windows = await list_windows(store)
    assert windows[0] == (removed.key, 1, 2, 30)
    assert windows[1:] == [(world.membership("deleted", 0, 1).key, 20, 21, 30)]


async def test_exposure_of_a_revocation_superseded_by_new_access_is_not_counted(
    store: Store,
) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600 + 1), at=1)
    await receive(store, world.membership("created", at=3600 + 2), at=2)
    assert await list_windows(store) == []
    await apply(store, at=3)
    assert await list_windows(store) == []


async def test_exposure_of_a_revocation_applied_while_access_was_given_again_is_kept(
    store: Store,
) -> None:
    world = World()
    await start(store, world)
    removed = world.membership("deleted", at=3600 + 1)
    await receive(store, removed, at=1)
    (claimed,) = await claim(store, after(NOW, 2), 10)
    await receive(store, world.membership("created", at=3600 + 3), at=3)
    await record(store, [Applied(claimed)], after(NOW, 4))
    assert await list_windows(store) == [(removed.key, 1, 1, 4)]
    await apply(store, at=5)
    assert await list_windows(store) == [(removed.key, 1, 1, 4)]


async def test_exposure_ends_when_supabase_responded_not_when_it_was_recorded(
    store: Store,
) -> None:
    """While the disk is full, revocations are applied and recorded later."""
    world = World()
    await start(store, world)
    removed = world.membership("deleted", at=3600 + 1)
    await receive(store, removed, at=1)
    (claimed,) = await claim(store, after(NOW, 2), 10)
    await record(store, [Applied(claimed, after(NOW, 3))], after(NOW, 300))
    assert await list_windows(store) == [(removed.key, 1, 1, 3)]


async def test_exposure_recorded_twice_keeps_the_first_time(store: Store) -> None:
    world = World()
    await start(store, world)
    removed = world.membership("deleted", at=3600 + 1)
    await receive(store, removed, at=1)
    (claimed,) = await claim(store, after(NOW, 2), 10)
    for at in (3, 4):
        await record(store, [Applied(claimed)], after(NOW, at))
    assert await list_windows(store) == [(removed.key, 1, 1, 3)]


async def test_exposure_of_a_dead_revocation_lasts(store: Store) -> None:
    world = World()
    await start(store, world)
    removed = world.membership("deleted", 0, 1, at=3600 + 1)
    await receive(store, removed, at=1)
    await have_refused(store)
    await receive(store, world.membership("deleted", at=0), at=1)
    await apply(store, at=1)
    report = await measure(store, now=after(NOW, 100))
    assert report.revocations[0].key == removed.key
    assert report.revocations[0].exposed_seconds == 99
    assert (report.summary.revocations, report.summary.unapplied) == (2, 1)
    await replay(store, now=after(NOW, 100))
    await apply(store, at=101)
    assert (removed.key, 1, 1, 101) in await list_windows(store)


async def test_exposure_of_a_membership_unknown_to_the_relay_counts(store: Store) -> None:
    """Supabase may have held it before the relay did."""
    removed = World().membership("deleted", at=3600)
    await receive(store, removed, at=1)
    await apply(store, at=2)
    assert await list_windows(store) == [(removed.key, 0, 1, 2)]


async def test_exposure_of_an_unknown_row_that_a_repair_removes_begins_with_its_event(
    store: Store,
) -> None:
    removed = World().membership("deleted", at=3600 + 5)
    unknown = Difference(
        ref_of(removed), DifferenceKind.EXTRA, Effect.LEAKS, Origin.UNKNOWN_TO_US, (), Repair.DELETE
    )
    await store.write(repair_queries.queue_repairs, [unknown], NOW)
    assert await list_windows(store) == []
    await receive(store, removed, at=7)
    await apply(store, at=10)
    assert await list_windows(store) == [(removed.key, 5, 7, 10)]


@pytest.mark.parametrize("action", ["created", "deleted"])
async def test_exposure_of_a_late_membership_of_a_removed_trip_is_not_counted(
    store: Store, action: str
) -> None:
    """It never gave access."""
    world = World()
    await receive(store, world.trip("created", at=1), world.trip("deleted", at=3))
    await apply(store, at=1)
    await receive(store, world.membership(action, at=2), at=100)
    await apply(store, at=101)
    assert await list_windows(store) == []


async def test_exposure_of_users_and_trips_is_not_counted(store: Store) -> None:
    world = World()
    await receive(store, world.user("created"), world.trip("created"))
    await apply(store, at=0)
    await receive(store, world.trip("deleted", at=3600), world.user("deleted", at=3600))
    assert await list_windows(store) == []
    await apply(store, at=1)
    assert await list_windows(store) == []


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_exposure_has_every_write_that_revoked_access_given_any_history(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    world, events = history
    own = set(world.refs())
    gives_access: dict[EntityKey, bool] = {}
    revoked: set[tuple[EntityKey, Instant]] = set()
    for n, event in enumerate(events, start=1):
        await store.store_events([event], after(NOW, n))
        if n < len(events) and not data.draw(st.booleans()):
            continue
        picked = await claim(store, after(NOW, n), 1000)
        await record(store, [Applied(entity) for entity in picked], after(NOW, n))
        for entity in picked:
            if entity.ref in own and entity.ref.kind is Kind.MEMBERSHIP:
                if entity.version.is_removal and gives_access.get(entity.ref.key):
                    revoked.add((entity.ref.key, after(NOW, n)))
                gives_access[entity.ref.key] = not entity.version.is_removal
    with engine.connect() as connection:
        rows = connection.execute(revocations.select()).all()
        unapplied = connection.execute(select(entities.c.key).where(entities.c.revoked_at > 0))
        assert unapplied.all() == []
    assert revoked <= {(row.key, row.applied_at) for row in rows}
    # Every window begins with a revocation of the source.
    happened = {event.occurred_at for event in events if event.is_removal}
    keys = {ref.key for ref in own}
    assert {row.occurred_at for row in rows if row.key in keys} <= happened


async def test_exposure_of_an_erased_user_keeps_ids_alone(store: Store, engine: Engine) -> None:
    world = World()
    await receive(store, world.user("created", name="zoe"))
    await start(store, world)
    await receive(store, world.user("deleted", at=3600), at=1)
    await apply(store, at=2)
    with engine.connect() as connection:
        rows = connection.execute(revocations.select()).all()
    assert [row.key for row in rows] == [world.membership("deleted").key]
    assert "zoe" not in repr(rows)
