"""Purging: which events, how often, and what stays."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from app.domain.clocks import Clocks
from app.domain.criteria import Criteria
from app.domain.entities import EventStatus
from app.domain.events import Event
from app.domain.exposure import ExposureFilter
from app.domain.instants import MICROSECONDS_PER_SECOND, Instant, after
from app.relay.purge import Purger
from app.store import event_queries, retention, revocation_queries
from app.store.store import Store
from tests.api.relay_harness import full_disk
from tests.auth.issuer import Clock
from tests.histories import NOW, World, ref_of
from tests.store.store_steps import claim, have_applied, have_refused

DAY = 86_400.0
HOUR = 3600.0
RETENTION_DAYS = 30


class History:
    """A store with one event a day, and the clock of its relay."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock(NOW / MICROSECONDS_PER_SECOND)

    async def receive_daily(self, days: int) -> None:
        """Receive an event a day, all applied; the last event now."""
        for day in range(days):
            await self.store.store_events([World().trip("created")], after(NOW, (day + 1) * DAY))
        self.clock.advance(days * DAY)
        await have_applied(self.store, now=self.now)

    @property
    def now(self) -> Instant:
        return Instant(round(self.clock() * MICROSECONDS_PER_SECOND))

    async def purge(self) -> int:
        """Purge like a relay that has just started."""
        return await Purger(
            self.store, clocks=Clocks(self.clock), retention_days=RETENTION_DAYS
        ).purge()

    async def count(self) -> int:
        page = await self.store.search(event_queries.read_event_page, Criteria(), None, 1000)
        return len(page.events)


@pytest.fixture
def history(store: Store) -> History:
    return History(store)


async def purge_all(store: Store, before: Instant, *, limit: int = 100) -> int:
    total, position = 0, None
    while True:
        count, position = await store.write(
            retention.purge_chunk, before, limit, resume_after=position
        )
        total += count
        if position is None:
            return total


async def list_ids(store: Store, status: EventStatus | None = None) -> set[str]:
    page = await store.search(event_queries.read_event_page, Criteria(status=status), None, 1000)
    return {event.event_id for event in page.events}


async def test_purge_deletes_events_past_retention_and_keeps_entities(
    history: History,
) -> None:
    store = history.store
    old = [World().trip("created") for _ in range(1200)]
    young = World().trip("created")
    await store.store_events(old, NOW)
    await have_applied(store)
    await store.store_events([young], after(NOW, DAY))
    history.clock.advance(30.5 * DAY)
    assert await history.purge() == 1200
    assert await list_ids(store) == {young.event_id}
    replayed = {entity.ref for entity in await claim(store, after(NOW, DAY), 2000)}
    assert replayed == {ref_of(young)}
    # The state of the others stays: an event that is sent again is known.
    await store.store_events([old[0]], after(NOW, 30 * DAY))
    assert await claim(store, after(NOW, 31 * DAY), 2000) != []


async def test_purge_before_the_retention_has_passed_deletes_nothing(history: History) -> None:
    await history.receive_daily(1)
    history.clock.advance(29 * DAY)
    assert await history.purge() == 0
    assert await history.count() == 1


async def test_purge_of_an_empty_store_stores_nothing(history: History, engine: Engine) -> None:
    assert await history.purge() == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM purge")).all() == []


async def test_purge_with_a_clock_far_ahead_deletes_at_most_a_day_per_hour(
    history: History,
) -> None:
    await history.receive_daily(28)
    history.clock.advance(60 * DAY)
    kept = []
    for _ in range(4):
        # As if the relay restarted each time.
        await history.purge()
        await history.purge()
        kept.append(await history.count())
        history.clock.advance(HOUR)
    assert kept == [27, 26, 25, 24]


async def test_purge_after_the_clock_was_corrected_is_due_and_moves_the_cutoff_back(
    history: History,
) -> None:
    await history.receive_daily(32)
    assert await history.purge() == 1
    for _ in range(5):
        # A clock that is ahead at each start, and soon corrected, costs one day in total.
        history.clock.advance(60 * DAY)
        await history.purge()
        history.clock.advance(-60 * DAY)
        assert await history.purge() == 0
    assert await history.count() == 30


async def test_purge_after_a_start_in_1970_is_not_delayed_for_years(
    history: History,
) -> None:
    await history.receive_daily(40)
    now = history.clock.seconds
    history.clock.seconds = 0.0
    assert await history.purge() == 0
    history.clock.seconds = now
    removed = []
    for _ in range(3):
        removed.append(await history.purge())
        history.clock.advance(HOUR)
    assert removed == [0, 1, 1]


async def test_purge_with_lowered_retention_catches_up_a_day_per_hour(history: History) -> None:
    await history.receive_daily(40)
    removed = []
    for _ in range(12):
        removed.append(await history.purge())
        history.clock.advance(HOUR)
    assert removed == [1] * 10 + [0] * 2


async def test_purge_keeps_events_that_pending_and_dead_entities_need(
    store: Store, engine: Engine
) -> None:
    dead, pending, applied = World(), World(), World()
    desired = dead.trip("updated", at=5)
    late = [dead.trip("updated", at=at) for at in (1, 2)]
    waiting = pending.trip("created")
    await store.store_events([dead.trip("created", at=0), desired, *late], NOW)
    await have_refused(store)
    await store.store_events([applied.trip("created")], NOW)
    await have_applied(store)
    await store.store_events([waiting], NOW)
    assert await purge_all(store, after(NOW, 1)) == 2
    assert await list_ids(store, EventStatus.DEAD) == {desired.event_id}
    assert await list_ids(store, EventStatus.PENDING) == {waiting.event_id}
    # The links of the entity lead to the event of its current version.
    page = await store.search(
        event_queries.read_event_page, Criteria(entity=ref_of(desired)), None, 10
    )
    assert [event.event_id for event in page.events] == [
        late[1].event_id,
        late[0].event_id,
        desired.event_id,
    ]
    await have_applied(store)
    with engine.begin() as connection:
        connection.execute(text("UPDATE entities SET state = 'applied'"))
    assert await purge_all(store, after(NOW, 1)) == 4


async def test_purge_keeps_the_event_of_an_entity_that_a_cascade_made_pending(
    store: Store,
) -> None:
    world = World()
    member = world.membership("created", at=1)
    await store.store_events([world.trip("created", at=0), member], NOW)
    await have_applied(store)
    await store.store_events([world.trip("deleted", at=2)], NOW)
    await purge_all(store, after(NOW, 1))
    page = await store.search(
        event_queries.read_event_page, Criteria(entity=ref_of(member)), None, 10
    )
    assert [event.event_id for event in page.events] == [member.event_id]


async def test_purge_skips_many_kept_events_that_are_the_oldest(store: Store) -> None:
    kept = [World().trip("created") for _ in range(250)]
    await store.store_events(kept, NOW)
    await have_refused(store)
    await store.store_events([World().trip("created") for _ in range(50)], after(NOW, 1))
    await have_applied(store, now=after(NOW, 1))
    assert await purge_all(store, after(NOW, 2)) == 50
    assert await list_ids(store) == {event.event_id for event in kept}


async def test_purge_is_not_blocked_by_events_received_while_the_clock_was_ahead(
    store: Store,
) -> None:
    await store.store_events([World().trip("created") for _ in range(5)], after(NOW, 60 * DAY))
    await store.store_events([World().trip("created") for _ in range(5)], NOW)
    await have_applied(store, now=after(NOW, 60 * DAY))
    assert await purge_all(store, after(NOW, 1), limit=2) == 5


async def test_purged_event_sent_again_changes_nothing(history: History) -> None:
    store, world = history.store, World()
    created = world.membership("created", at=1)
    await store.store_events([created, world.membership("deleted", at=2)], NOW)
    await have_applied(store)
    history.clock.advance(31 * DAY)
    assert await history.purge() == 2
    await store.store_events([created], history.now)
    found = await store.read(event_queries.find_event, created.event_id)
    assert found is not None
    assert found.status is EventStatus.SUPERSEDED
    assert found.entity.is_removed


async def test_purge_never_reuses_a_sequence(history: History) -> None:
    store, world = history.store, World()
    await store.store_events([world.trip("created", at=1)], NOW)
    await have_applied(store)
    history.clock.advance(31 * DAY)
    assert await history.purge() == 1
    later = world.trip("updated", at=2, name="Porto")
    await store.store_events([later], history.now)
    found = await store.read(event_queries.find_event, later.event_id)
    assert found is not None
    assert found.sequence == 2


async def test_purge_deletes_revocations_past_the_retention(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those whose events are gone, and those that are not from any event of the membership."""
    monkeypatch.setattr("app.relay.purge._CHUNK_ROWS", 2)
    store, world = history.store, World()

    async def count_revocations() -> int:
        criteria = ExposureFilter(Instant(0))
        report = await store.scan(revocation_queries.read_exposure, criteria, history.now, 10)
        return report.summary.revocations

    for trip in (0, 1):
        await store.store_events([world.membership("created", trip, n) for n in (0, 1)], NOW)
        await store.store_events([world.trip("deleted", trip, at=1)], NOW)
    await have_applied(store)
    history.clock.advance(10 * DAY)
    await store.store_events([World().membership("deleted")], history.now)
    await have_applied(store, now=history.now)
    pending = World().membership("deleted")
    await store.store_events([pending], history.now)
    counts = []
    for days in (19, 2, 7, 2):
        history.clock.advance(days * DAY)
        # The cutoff advances by at most a day per purge.
        for _ in range(12):
            await history.purge()
            history.clock.advance(HOUR)
        counts.append(await count_revocations())
    assert counts == [6, 2, 2, 1], "the pending one stays"


async def test_purge_of_many_events_reads_no_more_than_each_chunk(
    sqlite_store: Store,
) -> None:
    """Half of 20,000 events are kept; every chunk reads the same number of rows."""
    events: list[Event] = [World().trip("created") for _ in range(20_000)]
    await sqlite_store.store_events(events[:10_000], NOW)
    await have_refused(sqlite_store)
    await sqlite_store.store_events(events[10_000:], after(NOW, 1))
    await have_applied(sqlite_store, now=after(NOW, 1))
    total, chunks, position = 0, 0, None
    async with asyncio.timeout(60):
        while True:
            count, position = await sqlite_store.write(
                retention.purge_chunk, after(NOW, 2), 500, resume_after=position
            )
            if position is None:
                break
            total, chunks = total + count, chunks + 1
    assert (total, chunks) == (10_000, 40)


async def test_purger_with_a_full_disk_warns_once_retries_soon_and_logs_recovery(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    history = History(sqlite_store)
    await history.receive_daily(1)
    history.clock.advance(31 * DAY)
    purger = Purger(sqlite_store, clocks=Clocks(history.clock), retention_days=RETENTION_DAYS)
    with full_disk():
        running = asyncio.create_task(purger.run())
        await await_that(lambda: "the store is unavailable" in caplog.text)
        await asyncio.sleep(2.5)
    await await_that(lambda: "purged 1 events" in caplog.text)
    running.cancel()
    told = [each for each in caplog.records if each.name == "app.relay.purge"]
    assert [each.levelname for each in told] == ["WARNING", "INFO", "INFO"]
    # The store logs repeated failures once.
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 1
    assert all(each.exc_info is None for each in caplog.records)


async def await_that(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.05)
