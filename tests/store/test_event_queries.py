"""Listing events, compared to a filter over all of them."""

import sqlite3
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from app.domain.criteria import Criteria
from app.domain.entities import EventStatus
from app.domain.events import Event, EventId, EventType
from app.domain.history import EventCursor, StoredEvent
from app.domain.instants import Instant, after
from app.store import event_queries, retention
from app.store.event_queries import read_event_page
from app.store.schema import entities, events
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, histories, ref_of, some_criteria
from tests.store.store_steps import have_applied, have_postponed, have_refused, meets

LATER = after(NOW, 3600)


@dataclass(frozen=True)
class Library:
    """A store, and a second connection to look events up by."""

    store: Store
    engine: Engine

    async def receive(self, *arriving: Event, at: int = 0) -> None:
        """Store events as received so many seconds after NOW, or before."""
        await self.store.store_events(list(arriving), after(NOW, at))

    def empty(self) -> None:
        """Forget what an earlier example left."""
        with self.engine.begin() as connection:
            for table in (events, entities):
                connection.execute(delete(table))

    def read_page(
        self, criteria: Criteria, before: EventCursor | None, limit: int, window: int
    ) -> tuple[list[StoredEvent], EventCursor | None]:
        with self.engine.connect() as connection:
            page = read_event_page(connection, criteria, before, limit, window_events=window)
        assert len(page.events) <= limit
        return list(page.events), page.next_cursor

    def read_all(
        self, criteria: Criteria, *, limit: int = 200, window: int = 1000
    ) -> list[StoredEvent]:
        """Read page after page."""
        found: list[StoredEvent] = []
        page, position = self.read_page(criteria, None, limit, window)
        while True:
            found += page
            if position is None:
                return found
            page, position = self.read_page(criteria, position, limit, window)


@pytest.fixture
def library(store: Store, engine: Engine) -> Library:
    return Library(store, engine)


async def filter_all(store: Store, arrived: list[Event], criteria: Criteria) -> list[StoredEvent]:
    """Return the expected listing, by filtering every event."""
    stored = (
        await store.read(event_queries.find_events, [event.event_id for event in arrived])
    ).values()
    return sorted(
        (event for event in stored if meets(criteria, event)),
        key=lambda event: event.sequence if criteria.entity else place_of(event),
        reverse=True,
    )


def place_of(event: StoredEvent) -> EventCursor:
    return EventCursor(event.received_at, event.sequence)


def ids_of(stored: list[StoredEvent]) -> list[EventId]:
    return [event.event_id for event in stored]


@with_shared_fixtures
@given(history=histories(most=20), newcomers=histories(most=8), data=st.data())
async def test_listing_returns_each_matching_event_once_and_in_order(
    library: Library,
    history: tuple[World, list[Event]],
    newcomers: tuple[World, list[Event]],
    data: st.DataObject,
) -> None:
    library.empty()
    world, arrived = history
    clock = st.integers(-3, 3)
    fates = st.sampled_from((None, None, have_applied, have_refused, have_postponed))
    for event in arrived:
        await library.receive(event, at=data.draw(clock, "received at"))
        fate = data.draw(fates, "fate")
        if fate is not None:
            await fate(library.store, now=LATER)
    criteria = data.draw(some_criteria(world.refs(), EventStatus), "criteria")
    expected = ids_of(await filter_all(library.store, arrived, criteria))

    # Others come in between the pages, also at instants that were passed before.
    arriving = list(newcomers[1])
    position, found = None, list[StoredEvent]()
    for _ in range(2 * len(arrived) + 2 * len(arriving) + 2):
        page, position = library.read_page(
            criteria, position, data.draw(st.integers(1, 5), "limit"),
            data.draw(st.integers(1, 6), "window"),
        )  # fmt: skip
        found += page
        if position is None:
            break
        one_arrives: bool = data.draw(st.booleans(), "one arrives")
        if arriving and one_arrives:
            await library.receive(arriving.pop(), at=data.draw(clock, "received at"))
    assert position is None, "the pages do not end"
    ids = ids_of(found)
    assert len(set(ids)) == len(ids)
    known = {event.event_id for event in arrived}
    assert [event_id for event_id in ids if event_id in known] == expected
    assert all(meets(criteria, event) for event in found)


@pytest.mark.parametrize("limit", [1, 2, 7, 199, 200])
async def test_listing_with_any_limit_returns_every_event(library: Library, limit: int) -> None:
    trips = [World().trip("created") for _ in range(401)]
    await library.receive(*trips)
    found = library.read_all(Criteria(), limit=limit)
    assert ids_of(found) == [event.event_id for event in reversed(trips)]


async def test_listing_without_matches_ends_at_once(library: Library) -> None:
    for criteria in (Criteria(), Criteria(status=EventStatus.DEAD), Criteria(types=())):
        assert library.read_page(criteria, None, 10, 10) == ([], None)


async def test_listing_of_a_rare_type_has_empty_pages_and_continues(
    library: Library,
) -> None:
    rare = World().user("created")
    await library.receive(rare)
    await library.receive(*(World().trip("created") for _ in range(9)))
    criteria = Criteria(types=(EventType.USER_CREATED,))
    page, position = library.read_page(criteria, None, 5, 4)
    assert page == []
    assert position is not None
    assert ids_of(library.read_all(criteria, limit=5, window=4)) == [rare.event_id]


async def test_listing_of_an_entity_has_events_that_came_too_late(library: Library) -> None:
    world = World()
    kept, late, later = (world.trip("updated", at=at) for at in (3, 1, 2))
    for n, event in enumerate((kept, late, later)):
        await library.receive(event, at=n)
        await library.receive(World().trip("created"), at=n)
    found = library.read_all(Criteria(entity=ref_of(kept)), limit=1)
    assert ids_of(found) == [later.event_id, late.event_id, kept.event_id]
    assert [event.status for event in found] == [
        EventStatus.SUPERSEDED,
        EventStatus.SUPERSEDED,
        EventStatus.PENDING,
    ]


async def test_listing_of_a_membership_removed_with_its_trip_has_its_own_events_only(
    library: Library,
) -> None:
    world = World()
    member, removal = world.membership("created", at=1), world.trip("deleted", at=2)
    late = world.membership("updated", at=1, role="ADMIN")
    await library.receive(member, removal, late)
    found = library.read_all(Criteria(entity=ref_of(member)))
    assert ids_of(found) == [late.event_id, member.event_id]
    assert {event.status for event in found} == {EventStatus.SUPERSEDED}


async def test_listing_of_an_entity_after_a_purge_has_the_remaining_events(
    library: Library,
) -> None:
    world = World()
    trips = [world.trip("updated", at=at) for at in range(4)]
    for n, event in enumerate(trips):
        await library.receive(event, at=n)
    # A purge keeps what entities that are pending or dead need.
    await have_applied(library.store, now=LATER)
    ref = ref_of(trips[0])
    page, position = library.read_page(Criteria(entity=ref), None, 1, 10)
    assert ids_of(page) == [trips[3].event_id]
    await library.store.write(retention.purge_chunk, after(NOW, 2), 100)
    assert ids_of(library.read_all(Criteria(entity=ref))) == [
        trips[3].event_id,
        trips[2].event_id,
    ]
    # What a page has led to is gone by the time that the next one is read.
    await library.store.write(retention.purge_chunk, after(NOW, 3), 100)
    assert library.read_page(Criteria(entity=ref), position, 1, 10) == ([], None)
    await library.store.write(retention.purge_chunk, LATER, 100)
    assert library.read_all(Criteria(entity=ref)) == []
    again = world.trip("updated", at=9)
    await library.receive(again, at=9)
    assert ids_of(library.read_all(Criteria(entity=ref))) == [again.event_id]


async def test_listing_of_an_unknown_entity_is_empty(library: Library) -> None:
    await library.receive(World().trip("created"))
    assert library.read_all(Criteria(entity=ref_of(World().trip("deleted")))) == []


@pytest.mark.parametrize("is_first_page", [True, False])
async def test_listing_of_few_dead_does_not_read_every_event(
    library: Library, is_first_page: bool
) -> None:
    if library.engine.dialect.name != "sqlite":
        pytest.skip("counts the steps of SQLite's machine")
    await library.receive(*(World().trip("created") for _ in range(3)))
    await have_refused(library.store)
    await library.receive(*(World().user("created") for _ in range(20_000)), at=1)
    before = None if is_first_page else EventCursor(LATER, 1 << 40)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1000

    with library.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(count, 1000)
        page = read_event_page(connection, Criteria(status=EventStatus.DEAD), before, 10)
        driver.set_progress_handler(None, 0)
    assert len(page.events) == 3
    # A look at each event would take at least ten steps of SQLite's machine a piece.
    assert steps < 20_000


async def test_listing_of_a_rare_error_among_many_dead_needs_no_empty_pages(
    library: Library,
) -> None:
    await library.receive(*(World().trip("created") for _ in range(3)))
    await have_refused(library.store, code="22001")
    # More than are few.
    await library.receive(*(World().trip("created") for _ in range(5_001)), at=1)
    await have_refused(library.store)
    criteria = Criteria(status=EventStatus.DEAD, error_code="22001")
    page, position = library.read_page(criteria, None, 10, 10)
    assert (len(page), position) == (3, None)
    everything = Criteria(status=EventStatus.DEAD)
    page, position = library.read_page(everything, None, 10, 10)
    assert len(page) == 10
    assert position is not None


async def test_listing_by_instants_includes_the_first_and_excludes_the_last(
    library: Library,
) -> None:
    trips = [World().trip("created") for _ in range(4)]
    for n, event in enumerate(trips):
        await library.receive(event, at=n)
    criteria = Criteria(since=after(NOW, 1), until=Instant(after(NOW, 3)))
    assert ids_of(library.read_all(criteria)) == [trips[2].event_id, trips[1].event_id]
