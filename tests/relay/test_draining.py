"""A backlog of more than one batch: the next is made ready while one is out."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import Engine

from app.domain.entities import EventStatus, Kind
from app.domain.events import Event
from app.domain.instants import Instant, after, from_seconds
from app.relay.dispatch import AHEAD_SECONDS, BATCH_ENTITIES, IN_FLIGHT_SECONDS
from tests.fake_postgrest import FakePostgrest
from tests.histories import NOW, World, ref_of
from tests.relay.bench import (
    Bench,
    UniquePostgrest,
    await_backlog,
    await_flights,
    count_flights,
    read_flights,
    run_bench,
)

T = TypeVar("T")

# Two whole batches, and the rest.
BACKLOG = 2 * BATCH_ENTITIES + 200
EARLIER = Instant(NOW - BACKLOG)


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    async with run_bench(store_url, FakePostgrest(has_foreign_keys=True)) as bench:
        yield bench


async def receive_trips(
    bench: Bench, count: int = BACKLOG, *, from_: Instant = EARLIER
) -> tuple[list[World], list[Event]]:
    """Receive so many new trips, a hundred at an instant; they are picked in this order."""
    worlds = [World() for _ in range(count)]
    events = [world.trip("created", at=1) for world in worlds]
    for start in range(0, count, 100):
        await bench.store.store_events(events[start : start + 100], Instant(from_ + start))
    return worlds, events


def names_in(request: httpx.Request) -> dict[str, str]:
    """Give the names that a request writes, by trip."""
    rows = json.loads(request.content) if request.method == "POST" else []
    return {row["id"]: row["name"] for row in rows}


class HastyPostgrest(UniquePostgrest):
    """Answers before it has read to the end, so that nobody learns that a request has left."""

    def transport(self) -> httpx.AsyncBaseTransport:
        return _Hasty(super().transport())


class _Hasty(httpx.AsyncBaseTransport):
    def __init__(self, patient: httpx.AsyncBaseTransport) -> None:
        self._patient = patient

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        content = await anext(aiter(request.stream), b"") if request.method == "POST" else b""
        return await self._patient.handle_async_request(
            httpx.Request(request.method, request.url, headers=request.headers, content=content)
        )


async def begin(
    bench: Bench, engine: Engine, dispatching: Coroutine[Any, Any, T]
) -> tuple[asyncio.Event, asyncio.Task[T]]:
    """Dispatch until one batch is out, held up by a gate, and the next is ready."""
    gate = bench.postgrest.hang()
    running = asyncio.create_task(dispatching)
    await await_flights(bench.store, engine, 2)
    return gate, running


async def test_draining_writes_everything_once_in_order(bench: Bench, engine: Engine) -> None:
    worlds, events = await receive_trips(bench)
    await bench.drain()
    sent = [names_in(request) for request in bench.postgrest.writes]
    assert [len(names) for names in sent] == [BATCH_ENTITIES, BATCH_ENTITIES, 200]
    assert Counter(trip for names in sent for trip in names) == {w.trips[0]: 1 for w in worlds}
    assert set(sent[0]) == {world.trips[0] for world in worlds[:BATCH_ENTITIES]}
    assert len(bench.held()) == BACKLOG
    assert {await bench.status_of(event) for event in events[::97]} == {EventStatus.APPLIED}
    assert count_flights(engine) == 0
    assert (await bench.store.measure_backlog(NOW)).pending == 0


@pytest.mark.parametrize("index", [0, BATCH_ENTITIES, 2 * BATCH_ENTITIES])
async def test_draining_given_a_removal_of_what_is_out_ready_or_behind_sends_it_next(
    bench: Bench, engine: Engine, index: int
) -> None:
    worlds, _ = await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    removal = worlds[index].trip("deleted", at=2)
    await bench.receive(removal)
    gate.set()
    await running
    writes = bench.postgrest.writes
    # After the one that was out. Its batch holds what else is due, and children and parents are
    # written before parents are removed; a grant of what is removed is not among it.
    removed_at = next(n for n, request in enumerate(writes) if request.method == "DELETE")
    assert removed_at <= 2
    assert worlds[index].trips[0] not in {t for w in writes[1:] for t in names_in(w)}
    assert ref_of(removal) not in bench.held()
    assert await bench.status_of(removal) is EventStatus.APPLIED
    assert len(bench.held()) == BACKLOG - 1
    assert count_flights(engine) == 0


async def test_draining_writes_what_changed_while_it_was_out_again_after_its_outcome(
    bench: Bench, engine: Engine
) -> None:
    worlds, events = await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    newer = worlds[0].trip("updated", at=2, name="Porto")
    await bench.receive(newer)
    next_gate = bench.postgrest.hang()
    gate.set()
    await bench.postgrest.wait_for_writes(2)
    # It is due, and was due before what is out now.
    assert await bench.status_of(newer) is EventStatus.PENDING
    next_gate.set()
    await running
    written = [
        (number, names[worlds[0].trips[0]])
        for number, request in enumerate(bench.postgrest.writes)
        if worlds[0].trips[0] in (names := names_in(request))
    ]
    assert written == [(0, "Lisbon"), (2, "Porto")]
    assert await bench.status_of(newer) is EventStatus.APPLIED
    assert await bench.status_of(events[1]) is EventStatus.APPLIED


async def test_draining_writes_what_changed_while_it_was_ready_again(
    bench: Bench, engine: Engine
) -> None:
    worlds, _ = await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    newer = worlds[BATCH_ENTITIES].trip("updated", at=2, name="Porto")
    await bench.receive(newer)
    gate.set()
    await running
    assert bench.held()[ref_of(newer)]["name"] == "Porto"
    assert await bench.status_of(newer) is EventStatus.APPLIED


async def test_draining_that_is_stopped_sends_nothing_more_and_leaves_no_note(
    bench: Bench, engine: Engine
) -> None:
    _, events = await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.run())
    bench.dispatcher.stop()
    gate.set()
    await running
    assert len(bench.postgrest.writes) == 1
    assert await bench.status_of(events[0]) is EventStatus.APPLIED
    assert (await bench.store.measure_backlog(NOW)).pending == BACKLOG - BATCH_ENTITIES
    assert count_flights(engine) == 0


@pytest.mark.parametrize(("status", "noted"), [(503, 1), (401, 0)])
async def test_draining_that_meets_what_stops_everything_sends_nothing_more(
    bench: Bench, engine: Engine, status: int, noted: int
) -> None:
    await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    bench.postgrest.answer_with(status)
    gate.set()
    await running
    assert len(bench.postgrest.writes) == 1
    # What was made ready was never sent; what was sent may have landed, or has not.
    assert count_flights(engine) == noted
    assert (await bench.store.measure_backlog(NOW)).pending == BACKLOG
    bench.postgrest.heal()
    bench.clock.advance(1)
    await bench.drain()
    assert len(bench.held()) == BACKLOG


async def test_draining_that_is_cancelled_records_what_was_answered(
    bench: Bench, engine: Engine
) -> None:
    _, events = await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.run())
    bench.postgrest.hang()
    gate.set()
    await bench.postgrest.wait_for_writes(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await bench.status_of(events[0]) is EventStatus.APPLIED
    # Of the second nobody knows; the third was never sent.
    assert count_flights(engine) == 1
    bench.postgrest.heal()
    await bench.drain()
    assert len(bench.held()) == BACKLOG


async def test_draining_that_crashes_leaves_notes_of_what_was_sent_alone(
    bench: Bench, engine: Engine
) -> None:
    await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())

    def crash(_: str) -> httpx.TransportError:
        raise ZeroDivisionError

    bench.postgrest.break_connection(crash)
    gate.set()
    with pytest.raises(ZeroDivisionError):
        await running
    assert count_flights(engine) == 1
    bench.postgrest.heal()
    await bench.drain()
    assert len(bench.held()) == BACKLOG


async def test_draining_begins_anew_what_was_ready_for_too_long(
    bench: Bench, engine: Engine
) -> None:
    """Its note must outlast its request by as much as every other."""
    await receive_trips(bench)
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    bench.clock.advance(AHEAD_SECONDS + 0.1)
    next_gate = bench.postgrest.hang()
    gate.set()
    await bench.postgrest.wait_for_writes(2)
    await await_backlog(bench.store, BACKLOG - BATCH_ENTITIES)
    await await_flights(bench.store, engine, 2)
    # Of what is out, and of what is ready.
    until = read_flights(engine)
    next_gate.set()
    await running
    assert until[0] >= after(from_seconds(bench.clock()), IN_FLIGHT_SECONDS)
    assert [len(names_in(request)) for request in bench.postgrest.writes] == [500, 500, 200]
    assert len(bench.held()) == BACKLOG


@pytest.mark.parametrize("kind", [UniquePostgrest, HastyPostgrest])
async def test_draining_settles_who_swap_names_from_two_batches(
    store_url: str, kind: type[UniquePostgrest]
) -> None:
    """The one that waits for the name may be in what was made ready."""
    async with asyncio.timeout(30), run_bench(store_url, kind()) as bench:
        world = World()
        await bench.receive(world.user("created", 0, at=1, name="a"))
        await bench.receive(world.user("created", 1, at=1, name="b"))
        await bench.drain()
        first = world.user("updated", 0, at=2, name="b")
        await bench.receive(first)
        await bench.drain()
        assert await bench.status_of(first) is EventStatus.PENDING
        second = world.user("updated", 1, at=2, name="a")
        await bench.receive(second)
        await receive_trips(bench, BATCH_ENTITIES + 20, from_=Instant(NOW + 1))
        bench.clock.advance(1)
        await bench.drain()
        assert await bench.status_of(first) is EventStatus.APPLIED
        assert await bench.status_of(second) is EventStatus.APPLIED
        tables = [request.url.path.rpartition("/")[2] for request in bench.postgrest.writes]
        assert "users" not in tables[tables.index("trips") :], "what is settled is sent no more"
        names = {row["id"]: row["username"] for row in bench.postgrest.rows("users")}
        assert names == {world.users[0]: "b", world.users[1]: "a"}


async def test_draining_of_children_whose_parents_are_in_the_batch_before_refuses_none(
    bench: Bench,
) -> None:
    worlds = [World() for _ in range(BATCH_ENTITIES)]
    users = [world.user("created") for world in worlds]
    trips = [world.trip("created") for world in worlds]
    memberships = [world.membership("created") for world in worlds]
    for events in (users, trips, memberships):
        await bench.receive(*events)
    await bench.drain()
    assert len(bench.postgrest.writes) == 3
    assert len(bench.held()) == 3 * BATCH_ENTITIES
    assert {ref.kind for ref in bench.held()} == set(Kind)


async def test_draining_of_removals_alone_makes_the_next_ready_as_well(
    bench: Bench, engine: Engine
) -> None:
    events = [World().trip("deleted") for _ in range(BACKLOG)]
    for start in range(0, BACKLOG, 100):
        await bench.receive(*events[start : start + 100])
    gate, running = await begin(bench, engine, bench.dispatcher.dispatch_due())
    late = World().trip("deleted")
    await bench.receive(late)
    gate.set()
    await running
    assert await bench.status_of(late) is EventStatus.APPLIED
    assert (await bench.store.measure_backlog(NOW)).pending == 0
    removed = Counter(
        trip
        for request in bench.postgrest.writes
        for trip in request.url.params["id"].removeprefix("in.(").removesuffix(")").split(",")
    )
    assert removed == Counter(str(uuid.UUID(ref_of(event).key)) for event in [*events, late])
