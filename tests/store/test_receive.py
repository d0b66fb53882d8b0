"""Storing events by the run comes to what one by one does, and to what PostgreSQL does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from app.domain.events import Event
from app.domain.traces import Trace
from app.store import event_queries
from app.store.engine import open_engine
from app.store.receive import Receipt
from app.store.schema import entities, events
from app.store.store import Store
from app.store.store_url import read_store_url
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, histories

Stored = tuple[Store, Engine]


@pytest.fixture
async def together(tmp_path: Path) -> AsyncIterator[Stored]:
    async for stored in open_store(f"sqlite:///{tmp_path}/together.db"):
        yield stored


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Stored]:
    async for stored in open_store(f"sqlite:///{tmp_path}/apart.db"):
        yield stored


@pytest.fixture
async def on_postgres(postgres_store_url: str) -> AsyncIterator[Stored]:
    async for stored in open_store(postgres_store_url):
        yield stored


async def open_store(url: str) -> AsyncIterator[Stored]:
    store = await Store.open(url)
    engine = open_engine(read_store_url(url))
    yield store, engine
    engine.dispose()
    await store.close()


def read_tables(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return [
            connection.execute(select(events).order_by(events.c.sequence)).all(),
            connection.execute(select(entities).order_by(entities.c.kind, entities.c.key)).all(),
        ]


@with_shared_fixtures
@given(history=histories(instants=4, most=40), data=st.data())
async def test_store_given_events_together_equals_the_same_events_one_by_one(
    together: Stored, apart: Stored, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    _, arrived = history
    again = data.draw(st.lists(st.sampled_from(arrived), max_size=6))
    others = [event._replace(digest=b"of another body") for event in again[::2]]
    arrived = data.draw(st.permutations([*arrived, *again, *others]))
    receipts = await together[0].store_events(arrived, NOW)
    assert receipts == [
        receipt for event in arrived for receipt in await apart[0].store_events([event], NOW)
    ]
    assert receipts.count(Receipt.ACCEPTED) == len({event.event_id for event in arrived})
    assert read_tables(together[1]) == read_tables(apart[1])


@with_shared_fixtures
@given(history=histories(instants=4, most=40), data=st.data())
async def test_store_on_postgresql_equals_the_store_on_sqlite(
    together: Stored, on_postgres: Stored, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    _, events_of_history = history
    # Nothing twice: PostgreSQL would leave gaps in the sequence, and nothing else would be alike.
    arrived = data.draw(st.permutations(events_of_history))
    size = data.draw(st.integers(1, len(arrived)))
    for start in range(0, len(arrived), size):
        for store, _ in (together, on_postgres):
            await store.store_events(arrived[start : start + size], NOW)
    assert read_tables(together[1]) == read_tables(on_postgres[1])


async def test_events_are_stored_with_the_ids_of_their_request(store: Store) -> None:
    first, second, third = (World().trip("created") for _ in range(3))
    await asyncio.gather(
        store.store_events([first, second], NOW, "req-1 4bf92f35"),
        store.store_events([third], NOW),
    )
    # A duplicate keeps the ids of the first request.
    await store.store_events([first], NOW, "req-2")
    found = await store.read(
        event_queries.find_events, [each.event_id for each in (first, second, third)]
    )
    traces = {event_id: event.trace for event_id, event in found.items()}
    given = Trace("req-1", "4bf92f35")
    assert traces == {first.event_id: given, second.event_id: given, third.event_id: None}
