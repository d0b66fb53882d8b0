"""Listing the desired state, page by page."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, text

from app.domain.entities import EntityKey, Kind
from app.domain.events import Event
from app.domain.row_digests import digest_row
from app.store.entity_queries import (
    DesiredEntity,
    EntityPage,
    read_entity_page,
    read_memberships_of_user,
)
from app.store.schema import entities, events
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, histories


def read_page(
    engine: Engine, kind: Kind, after: EntityKey | None = None, *, limit: int = 100
) -> EntityPage:
    with engine.connect() as connection:
        return read_entity_page(connection, kind, after, limit)


def read_all(engine: Engine, kind: Kind, *, limit: int) -> list[DesiredEntity]:
    found: list[DesiredEntity] = []
    after: EntityKey | None = None
    while True:
        page = read_page(engine, kind, after, limit=limit)
        assert len(page.entities) <= limit
        found += page.entities
        after = page.last_key
        if after is None:
            return found


def read_memberships(
    engine: Engine, user_id: str, after: EntityKey | None = None, *, limit: int = 100
) -> EntityPage:
    with engine.connect() as connection:
        return read_memberships_of_user(connection, user_id, after, limit)


def test_listing_without_entities_is_one_empty_page(engine: Engine) -> None:
    assert read_page(engine, Kind.USER) == EntityPage((), None)


async def test_row_is_shown_by_version_and_digest(store: Store, engine: Engine) -> None:
    world = World()
    event = world.membership("created", at=5, role="ADMIN")
    await store.store_events([event], NOW)
    (found,) = read_page(engine, Kind.MEMBERSHIP).entities
    row = json.loads(event.row or "")
    assert not found.is_removed
    assert found == (event.key, event.occurred_at, digest_row(Kind.MEMBERSHIP, row))


async def test_removed_entity_is_listed_without_a_digest(store: Store, engine: Engine) -> None:
    world = World()
    removal = world.trip("deleted", at=9)
    await store.store_events([world.trip("created"), world.membership("created"), removal], NOW)
    for kind in (Kind.TRIP, Kind.MEMBERSHIP):
        (found,) = read_page(engine, kind).entities
        assert found.is_removed
        assert (found.version_at, found.digest) == (removal.occurred_at, None)


async def test_page_that_ends_with_the_last_entity_is_the_last(
    store: Store, engine: Engine
) -> None:
    world = World()
    await store.store_events([world.user("created", 0), world.user("created", 1)], NOW)
    first, last = sorted(world.users)
    assert read_page(engine, Kind.USER, limit=2).last_key is None
    page = read_page(engine, Kind.USER, limit=1)
    assert ([each.key for each in page.entities], page.last_key) == ([first], first)
    assert [each.key for each in read_page(engine, Kind.USER, EntityKey(first)).entities] == [last]


async def test_memberships_of_a_user_are_listed_without_those_of_others(
    store: Store, engine: Engine
) -> None:
    world = World()
    mine = [world.membership("created", trip, 0) for trip in (0, 1)]
    removal = world.membership("deleted", 1, 0, at=9)
    await store.store_events(
        [world.user("created", 0), world.trip("created"), world.membership("created", 0, 1)], NOW
    )
    await store.store_events([*mine, removal], NOW)
    user_id = world.users[0]
    found = read_memberships(engine, user_id).entities
    assert {each.key: each.is_removed for each in found} == {
        mine[0].key: False,
        mine[1].key: True,
    }
    first = read_memberships(engine, user_id, limit=1)
    assert first.last_key == first.entities[0].key == found[0].key
    rest = read_memberships(engine, user_id, first.last_key, limit=1)
    assert (rest.entities, rest.last_key) == (found[1:], None)


@with_shared_fixtures
@given(history=histories(), limit=st.integers(1, 5))
async def test_pages_show_every_entity_once_in_byte_order(
    store: Store, engine: Engine, history: tuple[World, list[Event]], limit: int
) -> None:
    with engine.begin() as connection:
        for table in (events, entities):
            connection.execute(delete(table))
    await store.store_events(history[1], NOW)
    for kind in Kind:
        found = [each.key for each in read_all(engine, kind, limit=limit)]
        with engine.connect() as connection:
            keys = connection.scalars(select(entities.c.key).where(entities.c.kind == kind.value))
            assert found == sorted(keys, key=str.encode)


@pytest.mark.parametrize("kind", Kind)
def test_page_is_found_by_the_primary_key(engine: Engine, kind: Kind) -> None:
    query = f"SELECT key FROM entities WHERE kind = '{kind}' AND key > '5' ORDER BY key LIMIT 5001"  # noqa: S608
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()
            assert "USING COVERING INDEX sqlite_autoindex_entities" in str(plan)
        else:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = connection.execute(text(f"EXPLAIN {query}")).all()
            assert "entities_pkey" in str(plan)
        assert "Sort" not in str(plan)
        assert "TEMP B-TREE" not in str(plan)
