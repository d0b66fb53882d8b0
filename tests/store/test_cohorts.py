"""A user's memberships are found in whatever cohort they are."""

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

from app.domain.entities import EntityRef, EntityState
from app.domain.events import Event
from app.domain.instants import after
from app.store import statements
from app.store.cursors import open_cursor
from app.store.engine import open_engine, read_store_url
from app.store.migrating import migrate_store
from app.store.schema import entities
from app.store.store import Store
from tests.histories import NOW, World, find_desired_rows, histories, ref_of
from tests.store.actions import claim, fail, have_applied, record, replay

USER = "123e4567-e89b-12d3-a456-426614174000"
COHORTS = (0, 1, 5, 70_000)


def scatter(engine: Engine, refs: Iterable[EntityRef], cohorts: Iterable[int]) -> None:
    """Put entities into cohorts as if many others had come between them."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE entities SET cohort = :cohort WHERE kind = :kind AND key = :key"),
            [
                {"cohort": cohort, "kind": ref.kind.value, "key": ref.key}
                for ref, cohort in zip(refs, cohorts, strict=False)
            ],
        )


async def fill(store: Store, engine: Engine, events: list[Event]) -> None:
    """Store events whose entities are in different cohorts."""
    await store.store_events(events, NOW)
    scatter(engine, map(ref_of, events), cycle(COHORTS))


async def pick_refs(store: Store) -> list[EntityRef]:
    return [entity.ref for entity in await claim(store, NOW, 1000)]


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(history=histories(), data=st.data())
async def test_store_of_many_cohorts_desires_what_the_oracle_says(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    world, arrived = history
    half = data.draw(st.integers(0, len(arrived)))
    await store.store_events(arrived[:half], NOW)
    refs = world.refs()
    scatter(engine, refs, [data.draw(st.sampled_from(COHORTS)) for _ in refs])
    await store.store_events(arrived[half:], NOW)
    await replay(store)
    picked = await claim(store, after(NOW, 3600), 100_000)
    assert {each.ref: each.row for each in picked if each.ref in refs} == find_desired_rows(arrived)


async def test_store_removed_user_has_memberships_of_every_cohort_that_stand_written_again(
    store: Store, engine: Engine
) -> None:
    """Supabase may have cascaded the removal to one that was written before it."""
    worlds = [World(users=(USER,)) for _ in range(20)]
    await fill(store, engine, [world.membership("created", at=3) for world in worlds])
    await have_applied(store)
    await store.store_events([worlds[0].user("deleted", at=2)], NOW)
    assert await pick_refs(store) == [ref_of(worlds[0].user("deleted"))]
    await have_applied(store)
    standing = {ref_of(world.membership("created")) for world in worlds}
    assert set(await pick_refs(store)) == standing
    await have_applied(store)
    assert await pick_refs(store) == []


async def test_store_user_back_after_a_removal_of_unknown_outcome_has_his_memberships_written_again(
    store: Store, engine: Engine
) -> None:
    worlds = [World(users=(USER,)) for _ in range(20)]
    user = worlds[0]
    created = [world.membership("created", at=6) for world in worlds]
    await fill(store, engine, [user.user("created", at=1), *created])
    await have_applied(store)
    await store.store_events([user.user("updated", at=2, name="joe")], NOW)
    await have_applied(store)
    assert await pick_refs(store) == []
    await store.store_events([user.user("deleted", at=5)], NOW)
    await store.store_events([user.user("created", at=7)], NOW)
    await have_applied(store)
    assert set(await pick_refs(store)) == set(map(ref_of, created))


async def test_store_user_that_is_applied_releases_what_awaits_him_in_every_cohort(
    store: Store, engine: Engine
) -> None:
    worlds = [World(users=(USER,)) for _ in range(20)]
    waiting = [
        event for world in worlds for event in (world.trip("created"), world.membership("created"))
    ]
    await fill(store, engine, waiting)
    refused = [
        fail(each, state=EntityState.PENDING, awaits_parent=True)
        for each in await claim(store, NOW, 1000)
    ]
    await record(store, refused, NOW)
    assert await pick_refs(store) == []
    await store.store_events([worlds[0].user("created")], NOW)
    await have_applied(store)
    assert set(await pick_refs(store)) == set(map(ref_of, waiting))


async def test_store_on_sqlite_begins_a_cohort_every_few_thousand_entities(
    store: Store, engine: Engine
) -> None:
    trips = [World().trip("created") for _ in range(4096)]
    last = World().trip("created")
    await store.store_events([*trips, trips[0]], NOW)
    await store.store_events([last, trips[1]], NOW)
    with engine.connect() as connection:
        rows = connection.execute(select(entities.c.key, entities.c.cohort)).all()
    cohorts = {row.key: row.cohort for row in rows}
    assert cohorts.pop(last.key) == (1 if engine.dialect.name == "sqlite" else 0)
    assert cohorts == {trip.key: 0 for trip in trips}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statements.CASCADE_FROM_USER, "entities_of_user (cohort=? AND user_id=?)"),
        (statements.WRITE_CHILDREN_OF_USER_AGAIN, "entities_of_user (cohort=? AND user_id=?)"),
        (
            statements.WRITE_CHILDREN_OF_RETURNED_USER_AGAIN,
            "entities_of_user (cohort=? AND user_id=?)",
        ),
        (statements.RELEASE_CHILDREN_OF_USER, "entities_awaiting (user_id=?)"),
    ],
)
def test_sqlite_store_finds_what_is_a_users_by_an_index(
    store_path: Path, statement: str, index: str
) -> None:
    url = f"sqlite:///{store_path}"
    migrate_store(url)
    engine = open_engine(read_store_url(url))
    values = dict.fromkeys(("kind", "key", "occurred_at", "sequence", "received_at", "now"))
    with engine.connect() as connection:
        cursor = open_cursor(connection)
        plan = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    engine.dispose()
    assert plan[0][-1] == f"SEARCH entities USING INDEX {index}"
    assert not any(line[-1].startswith("SCAN entities") for line in plan)
