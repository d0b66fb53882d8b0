"""Dead entities are counted by cause."""

import random
from dataclasses import replace

from sqlalchemy import insert

from app.domain.criteria import Criteria
from app.domain.entities import EntityState, Kind
from app.domain.history import DeadCause
from app.domain.instants import Instant
from app.store.dead_queries import count_dead
from app.store.event_queries import read_event_page
from app.store.schema import entities
from app.store.store import Store
from tests.histories import NOW, World
from tests.store.store_steps import claim, fail, record

CHECK = 'violates check constraint "c"'


async def add(
    store: Store, kind: Kind, state: EntityState, code: str, count: int, *, removals: int = 0
) -> None:
    """Add entities, as far as the query reads them; the first ones are removals."""
    await store.write(
        lambda connection: connection.execute(
            insert(entities),
            [
                {
                    "kind": kind.value,
                    "key": f"{code}-{number}",
                    "occurred_at": Instant(1),
                    "is_removal": number < removals,
                    "sequence": 1,
                    "state": state.value,
                    "priority": 1,
                    "revision": 1,
                    "pending_since": 1,
                    "due_at": 0,
                    "attempts": 1,
                    "awaits_parent": False,
                    "last_error_code": code,
                    "last_error": CHECK,
                }
                for number in range(count)
            ],
        )
    )


async def test_dead_are_counted_by_kind_and_error_most_frequent_first(store: Store) -> None:
    await add(store, Kind.USER, EntityState.DEAD, "23514", 2)
    await add(store, Kind.TRIP, EntityState.DEAD, "23514", 3, removals=2)
    await add(store, Kind.TRIP, EntityState.DEAD, "22001", 1)
    await add(store, Kind.TRIP, EntityState.PENDING, "23503", 9)
    causes = [
        DeadCause(Kind.TRIP, "23514", CHECK, 3, 2),
        DeadCause(Kind.USER, "23514", CHECK, 2),
        DeadCause(Kind.TRIP, "22001", CHECK, 1),
    ]
    assert await store.read(count_dead, 5) == causes
    assert await store.read(count_dead, 2) == causes[:2]


async def test_dead_with_an_error_of_any_length_is_recorded_and_found_by_it(store: Store) -> None:
    await store.store_events([World().user("created")], NOW)
    (entity,) = await claim(store, NOW, 1)
    # Random, so that no compression makes it fit into an index.
    message = "".join(random.Random(1).choices("⊕⊗⊙⊚⊛⊜⊝🜀🜁🜂🜃🜄🜅🜆🜇🜈", k=5000))  # noqa: S311
    await record(store, [replace(fail(entity), message=message)], NOW)
    (cause,) = await store.read(count_dead, 5)
    assert message.startswith(cause.message)
    criteria = Criteria(error_code=cause.code, error=cause.message)
    page = await store.read(read_event_page, criteria, None, 5)
    assert [event.entity.ref for event in page.events] == [entity.ref]


async def test_dead_beyond_the_examined_ones_are_not_counted(store: Store) -> None:
    await add(store, Kind.USER, EntityState.DEAD, "23514", 7)
    (cause,) = await store.read(lambda connection: count_dead(connection, 5, examined_entities=4))
    assert cause.entities == 4


async def test_dead_of_an_empty_store_are_none(store: Store) -> None:
    assert await store.read(count_dead, 5) == []
