"""Finding the traces of a batch: each event is settled once, on both databases."""

from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.event import listen

from app.domain.entities import EventStatus
from app.domain.instants import after
from app.domain.traces import SpanContext
from app.store import trace_queries
from app.store.outcome_queries import Applied
from app.store.store import Store
from tests.histories import NOW, World, ref_of
from tests.store.store_steps import claim, fail, record, replay

SPAN = SpanContext("a" * 32, "b" * 16)
TRACE = f"req-1 {SPAN.trace_id} {SPAN.span_id}"


async def apply(store: Store, now: int = 0) -> None:
    """Have Supabase hold all pending entities."""
    entities = await claim(store, after(NOW, now), 10)
    await record(store, [Applied(each) for each in entities], after(NOW, now))


async def find(store: Store, world: World) -> list[tuple[str, str]]:
    """Return type and status of the settled events of all entities."""
    settled = await store.read(trace_queries.find_settled, world.refs())
    assert {each.span for each in settled} <= {SPAN}
    return sorted((each.type, each.status.value) for each in settled)


async def test_spans_are_found_by_sequence_without_the_events_that_have_none(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created")], NOW, TRACE)
    await store.store_events([world.trip("created")], NOW, "req-2 " + "c" * 32)
    await store.store_events([world.trip("created", 1)], NOW)
    sequences = [each.version.sequence for each in await claim(store, NOW, 10)]
    assert list((await store.read(trace_queries.find_spans, sequences)).values()) == [SPAN]
    assert await store.read(trace_queries.find_spans, []) == {}


async def test_pending_event_is_not_settled(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created")], NOW, TRACE)
    assert await find(store, world) == []
    assert await store.read(trace_queries.find_settled, []) == []


async def test_events_of_one_wait_are_settled_together(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created")], NOW, TRACE)
    await store.store_events([world.user("updated", at=1)], after(NOW, 1), TRACE)
    # Too late to move its entity.
    await store.store_events([world.user("updated", at=0, name="al")], after(NOW, 2), TRACE)
    await apply(store, 3)
    assert await find(store, world) == [
        ("user.created", "superseded"),
        ("user.updated", "applied"),
        ("user.updated", "superseded"),
    ]


async def test_events_of_an_earlier_wait_are_not_settled_again(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created")], NOW, TRACE)
    await apply(store, 1)
    await store.store_events([world.user("updated", at=1, name="al")], after(NOW, 2), TRACE)
    await apply(store, 3)
    assert await find(store, world) == [("user.updated", "applied")]


async def test_replayed_event_is_not_settled_again(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created")], NOW, TRACE)
    await apply(store, 1)
    await replay(store, now=after(NOW, 2))
    await apply(store, 3)
    assert await find(store, world) == []


async def test_dead_event_has_its_code(store: Store) -> None:
    world = World()
    created = world.user("created")
    await store.store_events([created], NOW, TRACE)
    (entity,) = await claim(store, NOW, 10)
    await record(store, [fail(entity)], NOW)
    (settled,) = await store.read(trace_queries.find_settled, [ref_of(created)])
    assert (settled.status, settled.error_code) == (EventStatus.DEAD, "23514")
    assert (settled.event_id, settled.revision) == (created.event_id, entity.revision)


async def test_settled_events_are_bounded(store: Store) -> None:
    world = World()
    await store.store_events([world.user("updated", at=n) for n in range(1010)], NOW, TRACE)
    await apply(store)
    assert len(await find(store, world)) == 1000


@pytest.mark.usefixtures("store")
def test_settled_events_are_found_by_the_primary_keys(engine: Engine) -> None:
    executed: list[tuple[str, Any]] = []
    with engine.connect() as connection:
        listen(
            connection,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, values, *_: executed.append(
                (statement, values)
            ),
        )
        trace_queries.find_settled(connection, World().refs())
        ((statement, values),) = [each for each in executed if "RECURSIVE" in each[0]]
        if engine.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert "SCAN entities" not in str(plan)
            assert "SCAN events" not in str(plan)
        else:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values).all()
            assert "Seq Scan" not in str(plan)
