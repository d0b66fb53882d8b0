"""Keys are compared byte by byte, in any collation of the database."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.domain.criteria import Criteria
from app.domain.entities import Kind
from app.store.outcome_queries import Applied
from app.store.store import Store
from tests.histories import NOW, World, find_desired_rows, ref_of
from tests.postgres import PostgresServer
from tests.store.store_steps import advance_replay, begin_replay, claim, look_at, record

# Punctuation is skipped: "<trip>/<user>" then lies behind "<trip>0".
SHIFTED = "und-u-ka-shifted"


@pytest.fixture
async def shifted_store(postgres: PostgresServer) -> AsyncIterator[Store]:
    try:
        url = postgres.create_database(icu_locale=SHIFTED)
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.SyntaxError) as error:
        pytest.skip(f"this PostgreSQL has no ICU for databases: {error}")
    with psycopg.connect(url) as connection:
        sorts = connection.execute("select 'a/b' > 'a' || '/' and 'a/b' < 'a' || '0'").fetchone()
    assert sorts == (False,), "the database compares as everybody would expect, and shows nothing"
    store = await Store.open(url)
    yield store
    await store.close()


async def test_trip_removed_removes_its_memberships_in_any_collation(
    shifted_store: Store,
) -> None:
    world = World()
    events = [
        world.user("created", at=1),
        world.trip("created", at=1),
        world.membership("created", at=2),
        world.trip("deleted", at=3),
    ]
    for event in events:
        await shifted_store.store_events([event], NOW)
    picked = await claim(shifted_store, NOW, 100)
    desired = find_desired_rows(events)
    assert {entity.ref: entity.row for entity in picked} == desired
    assert [entity.row for entity in picked if entity.ref.kind is Kind.MEMBERSHIP] == [None]


async def test_children_are_released_when_their_trip_is_applied_in_any_collation(
    shifted_store: Store,
) -> None:
    world = World()
    trip, membership = world.trip("created", at=1), world.membership("created", at=1)
    await shifted_store.store_events([trip, membership], NOW)
    picked = {entity.ref: entity for entity in await claim(shifted_store, NOW, 100)}
    await record(shifted_store, [Applied(picked[ref_of(membership)])], NOW)
    await shifted_store.store_events([world.trip("deleted", at=0)], NOW)
    await record(shifted_store, [Applied(picked[ref_of(trip)])], NOW)
    # Supabase may have cascaded the removal that was never recorded.
    again = [entity.ref for entity in await claim(shifted_store, NOW, 100)]
    assert again == [ref_of(membership)]


async def test_replay_in_small_steps_reaches_every_entity_in_any_collation(
    shifted_store: Store,
) -> None:
    world = World()
    events = [world.user("created", at=1), world.trip("created", at=1)]
    events += [World().membership("created", at=1) for _ in range(20)]
    await shifted_store.store_events(events, NOW)
    replay = await begin_replay(shifted_store, Criteria())
    while await advance_replay(shifted_store, replay.number, NOW, 3, found=5):
        pass
    done = await look_at(shifted_store, replay.replay_id)
    assert (done.marked, done.matches.entities) == (22, 22)
