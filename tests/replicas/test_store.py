"""Two stores on one database, as two replicas have them."""

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import StoreUnavailable
from app.domain.events import Event
from app.domain.instants import after
from app.store import console_links
from app.store.outcome_queries import Applied
from app.store.receive import Receipt
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, find_desired_rows, histories
from tests.store.store_steps import claim, record


@pytest.fixture
def store_url(postgres_store_url: str) -> str:
    return postgres_store_url


@pytest.fixture
async def stores(store_url: str) -> AsyncIterator[list[Store]]:
    opened = [await Store.open(store_url) for _ in range(2)]
    yield opened
    for store in opened:
        await store.close()


def read_desired(store_url: str, world: World) -> dict[object, str | None]:
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT kind, key, row FROM entities").fetchall()
    found = {(kind, key): row for kind, key, row in rows}
    return {ref: found[ref.kind, ref.key] for ref in world.refs() if (ref.kind, ref.key) in found}


def read_arrived(store_url: str, events: list[Event]) -> list[Event]:
    by_id = {event.event_id: event for event in events}
    with psycopg.connect(store_url) as connection:
        rows = connection.execute("SELECT event_id FROM events ORDER BY sequence").fetchall()
    return [by_id[id_] for (id_,) in rows if id_ in by_id]


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_stores_given_any_history_at_once_desire_what_the_oracle_says(
    store_url: str, stores: list[Store], history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    """Each is given both halves, in orders of their own, while outcomes are recorded."""
    world, events = history
    repeated = [*events, *data.draw(st.lists(st.sampled_from(events), max_size=6))]
    shuffled = data.draw(st.permutations(repeated))
    sizes = cycle(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    giving = []
    rest = list(shuffled)
    for store in cycle(stores):
        if not rest:
            break
        size = next(sizes)
        group, rest = rest[:size], rest[size:]
        giving.append(store.store_events(group, NOW))
    recording = [apply_some(store) for store in stores]
    *receipts, _, _ = await asyncio.gather(*giving, *recording)
    flat = [receipt for group in receipts if group is not None for receipt in group]
    assert flat.count(Receipt.ACCEPTED) == len(events)
    assert flat.count(Receipt.DUPLICATE) == len(repeated) - len(events)
    arrived = read_arrived(store_url, events)
    assert len(arrived) == len(events)
    assert read_desired(store_url, world) == find_desired_rows(arrived)


async def apply_some(store: Store) -> None:
    for _ in range(3):
        picked = await claim(store, NOW, 100)
        await record(store, [Applied(entity) for entity in picked], NOW)


async def test_stores_given_overlapping_events_in_opposite_orders_never_deadlock(
    store_url: str, stores: list[Store]
) -> None:
    """Removals cascade to what the others move at the same moment."""
    world = World(*(tuple(ids) for ids in make_ids()))
    events = [
        event
        for at in range(12)
        for user in range(len(world.users))
        for event in (
            world.user(("created", "deleted")[at % 2], user, at=at),
            world.trip(("created", "deleted")[at % 3 == 2], user, at=at),
            world.membership("created", user, (user * 3 + at) % len(world.users), at=at),
        )
    ]
    chunks = [events[n : n + 25] for n in range(0, len(events), 25)]
    forwards = [stores[0].store_events(chunk, NOW) for chunk in chunks]
    backwards = [stores[1].store_events(chunk[::-1], NOW) for chunk in reversed(chunks)]
    await asyncio.gather(*forwards, *backwards, apply_some(stores[0]), apply_some(stores[1]))
    arrived = read_arrived(store_url, events)
    assert len(arrived) == len(events)
    assert read_desired(store_url, world) == find_desired_rows(arrived)
    with psycopg.connect(store_url, autocommit=True) as connection:
        # Of receivers among each other; the dispatcher's are run again, and seen below.
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None


def make_ids() -> list[list[str]]:
    worlds = [World() for _ in range(10)]
    return [
        [id_ for world in worlds for id_ in world.users],
        [id_ for world in worlds for id_ in world.trips],
    ]


async def test_store_that_loses_a_deadlock_stores_it_all_the_same(
    store_url: str, stores: list[Store]
) -> None:
    """Somebody else locks in the opposite order, and PostgreSQL ends one of the two."""
    world = World()
    first, second = world.user("created", 0, at=1), world.user("created", 1, at=1)
    await stores[0].store_events([first, second], NOW)
    lock = "SELECT 1 FROM entities WHERE key = %s FOR UPDATE"
    again = [world.user("updated", 0, at=2), world.user("updated", 1, at=2)]
    with psycopg.connect(store_url) as other:
        # The other never loses: he waits longer before he looks for a circle.
        other.execute("SET LOCAL deadlock_timeout = '30s'")
        other.execute(lock, [again[1].key])
        storing = asyncio.ensure_future(stores[0].store_events(again, NOW))
        await asyncio.to_thread(await_waiting, store_url)
        await asyncio.to_thread(other.execute, lock, [again[0].key])
        await asyncio.to_thread(other.commit)
    assert await storing == [Receipt.ACCEPTED] * 2
    assert read_desired(store_url, world) == find_desired_rows([first, second, *again])


async def test_store_that_waits_too_long_for_a_lock_is_unavailable(
    store_url: str, stores: list[Store]
) -> None:
    """Whether it receives, as the one does, or records, as the other."""
    world = World()
    await stores[0].store_events([world.user("created", at=1)], NOW)
    picked = await claim(stores[1], NOW, 10)
    applied = [Applied(one) for one in picked]
    with psycopg.connect(store_url) as other:
        other.execute("SELECT 1 FROM entities FOR UPDATE")
        async with asyncio.timeout(60):
            errors = await asyncio.gather(
                stores[0].store_events([world.user("updated", at=2)], NOW),
                record(stores[1], applied, NOW),
                return_exceptions=True,
            )
        assert [type(error) for error in errors] == [StoreUnavailable] * 2
        assert all("timeout" in (store.failure or "") for store in stores)
    assert await stores[0].store_events([world.user("updated", at=3)], NOW) == [Receipt.ACCEPTED]
    await record(stores[1], applied, NOW)
    assert [store.failure for store in stores] == [None, None]


def await_waiting(store_url: str) -> None:
    """Wait until a connection waits for a lock."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        while not connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'"
        ).fetchall():
            pass


async def test_link_that_both_replicas_are_asked_to_open_is_opened_once(
    stores: list[Store],
) -> None:
    for number in range(20):
        digest = bytes([number]) * 32
        await stores[0].write(console_links.add_link, digest, b"sealed", after(NOW, 60), NOW)
        takes = (store.write(console_links.take_link, digest, NOW) for store in stores)
        taken = await asyncio.gather(*takes)
        assert sorted(taken, key=lambda each: each is None) == [b"sealed", None]
