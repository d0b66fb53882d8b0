"""Replays: what they mark, that they can do no harm, and that their figures are right."""

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from app.domain.criteria import Criteria
from app.domain.entities import EntityKey, EntityRef, EntityState, EventStatus, Kind
from app.domain.events import Event, EventId, EventType
from app.domain.history import Matches, Replay, ReplayStatus
from app.domain.instants import after
from app.store import event_queries, replay_queries, retention
from app.store.outcome_queries import Applied
from app.store.schema import entities, events, replays
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, find_desired_rows, histories, ref_of, some_criteria
from tests.store.store_steps import (
    advance_replay,
    begin_replay,
    claim,
    have_applied,
    have_postponed,
    have_refused,
    look_at,
    meets,
    record,
    replay,
)

LATER = after(NOW, 3600)
REPLAYABLE = (EventStatus.PENDING, EventStatus.APPLIED, EventStatus.DEAD)
# None, twice: to be left pending is the most usual fate.
FATES = st.sampled_from((None, None, have_applied, have_refused, have_postponed))


@dataclass(frozen=True)
class Standing:
    """Where an entity stands."""

    revision: int
    state: EntityState
    row: str | None
    error_code: str | None
    error: str | None


def read_standings(engine: Engine) -> dict[EntityRef, Standing]:
    """Read every entity."""
    columns = entities.c
    statement = select(
        columns.kind,
        columns.key,
        columns.revision,
        columns.state,
        columns.row,
        columns.last_error_code,
        columns.last_error,
    )
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    return {
        EntityRef(Kind(kind), EntityKey(key)): Standing(revision, EntityState(state), *rest)
        for kind, key, revision, state, *rest in rows
    }


def empty(engine: Engine) -> None:
    """Forget what an earlier example left."""
    with engine.begin() as connection:
        for table in (events, entities, replays):
            connection.execute(delete(table))


async def live_through(store: Store, arriving: Iterable[Event], data: st.DataObject) -> None:
    """Receive events, around NOW in any order, and settle some entities in between."""
    for event in arriving:
        await store.store_events([event], after(NOW, data.draw(st.integers(-3, 3), "received at")))
        fate = data.draw(FATES, "fate")
        if fate is not None:
            await fate(store, now=LATER)


async def find_meant(
    store: Store, engine: Engine, arrived: list[Event], criteria: Criteria
) -> tuple[set[EventId], set[EntityRef]]:
    """Return the events and entities that match, by filtering each."""
    standings = read_standings(engine)
    stored = (
        await store.read(event_queries.find_events, [event.event_id for event in arrived])
    ).values()
    matching = {event.event_id for event in stored if meets(criteria, event)}
    refs = {event.entity.ref for event in stored if meets(criteria, event)}
    if not criteria.needs_event_scan:
        refs = {
            ref
            for ref, standing in standings.items()
            if criteria.entity in (None, ref)
            and (criteria.status is None or standing.state.value == criteria.status.value)
            and criteria.error_code in (None, standing.error_code)
            and criteria.error in (None, standing.error)
        }
    return matching, refs


@with_shared_fixtures
@given(history=histories(most=20), data=st.data())
async def test_replay_requeues_exactly_the_matching_entities(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    empty(engine)
    world, arrived = history
    await live_through(store, arrived, data)
    criteria = data.draw(some_criteria(world.refs(), REPLAYABLE), "criteria")
    matching, refs = await find_meant(store, engine, arrived, criteria)
    assert await store.scan(replay_queries.count_matches, criteria) == Matches(
        len(matching), len(refs)
    )

    before = read_standings(engine)
    begun = await begin_replay(store, criteria)
    size, found = data.draw(st.integers(1, 4), "size"), data.draw(st.integers(1, 6), "found")
    while await advance_replay(store, begun.number, LATER, size, found=found):
        assert (await look_at(store, begun.replay_id)).status is ReplayStatus.RUNNING
    ended = await look_at(store, begun.replay_id)
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, len(refs))
    assert ended.matches == Matches(len(matching), len(refs))
    assert read_standings(engine) == {
        ref: Standing(standing.revision + 1, EntityState.PENDING, standing.row, None, None)
        if ref in refs
        else standing
        for ref, standing in before.items()
    }


@with_shared_fixtures
@given(history=histories(most=20), data=st.data())
async def test_replay_of_ids_requeues_the_entities_that_match_the_other_criteria(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    empty(engine)
    world, arrived = history
    await live_through(store, arrived, data)
    chosen = data.draw(st.lists(st.sampled_from(arrived), min_size=1), "chosen")
    criteria = data.draw(some_criteria(world.refs(), REPLAYABLE), "criteria")
    stored = await store.read(event_queries.find_events, [event.event_id for event in chosen])
    refs = {event.entity.ref for event in stored.values() if meets(criteria, event)}
    before = read_standings(engine)
    ids = dataclasses.replace(criteria, event_ids=tuple(event.event_id for event in chosen))
    ended = await replay(store, ids, now=LATER, size=data.draw(st.integers(1, 3), "size"))
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, len(refs))
    risen = {
        ref
        for ref, standing in read_standings(engine).items()
        if standing.revision > before[ref].revision
    }
    assert risen == refs


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_replay_at_any_time_leads_to_the_same_state(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    empty(engine)
    _, arrived = history
    supabase: dict[EntityRef, str | None] = {}

    async def write() -> None:
        picked = await claim(store, LATER, data.draw(st.integers(1, 9), "picked"))
        supabase.update({entity.ref: entity.row for entity in picked})
        # Others may be replayed between a write and its record.
        await replay_some()
        await record(store, [Applied(entity) for entity in picked], LATER)

    async def replay_some() -> None:
        ids = tuple(event.event_id for event in data.draw(st.permutations(received), "replayed"))
        before = {ref: standing.row for ref, standing in read_standings(engine).items()}
        await replay(store, Criteria(event_ids=ids), now=LATER, size=3)
        after_it = {ref: standing.row for ref, standing in read_standings(engine).items()}
        assert after_it == before

    received: list[Event] = []
    for event in arrived:
        await store.store_events([event], NOW)
        received.append(event)
        for step in data.draw(st.lists(st.sampled_from((write, replay_some)), max_size=1), "steps"):
            await step()
    while await claim(store, LATER, 1):
        picked = await claim(store, LATER, 1000)
        supabase.update({entity.ref: entity.row for entity in picked})
        await record(store, [Applied(entity) for entity in picked], LATER)
    assert supabase == find_desired_rows(arrived)


@dataclass
class Ledger:
    """What must be said of replays, from nothing but what was seen to happen.

    Attributes:
        owners: the replay that has an entity's next write to its account.
        marked: by replay.
        applied: by replay.
        superseded: by replay.
    """

    owners: dict[EntityRef, int] = field(default_factory=dict)
    marked: Counter[int] = field(default_factory=Counter)
    applied: Counter[int] = field(default_factory=Counter)
    superseded: Counter[int] = field(default_factory=Counter)

    def note_marks(self, number: int, refs: Iterable[EntityRef]) -> None:
        for ref in refs:
            self.marked[number] += 1
            if ref in self.owners:
                self.superseded[self.owners[ref]] += 1
            self.owners[ref] = number

    def note_applied(self, refs: Iterable[EntityRef]) -> None:
        for ref in refs:
            owner = self.owners.pop(ref, None)
            if owner is not None:
                self.applied[owner] += 1

    def count(self, number: int, state: EntityState, standings: dict[EntityRef, Standing]) -> int:
        return sum(
            standings[ref].state is state for ref, owner in self.owners.items() if owner == number
        )


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_replay_figures_add_up_under_concurrent_changes(
    store: Store, engine: Engine, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    empty(engine)
    waiting = list(history[1])
    ledger = Ledger()
    begun: list[Replay] = []
    await store.store_events([waiting.pop(0)], NOW)
    steps = st.lists(
        st.sampled_from(("receive", "begin", "advance", "advance", "apply", "refuse")), max_size=20
    )
    for step in data.draw(steps, "steps"):
        before = read_standings(engine)
        match step:
            case "receive" if waiting:
                await store.store_events([waiting.pop(0)], NOW)
            case "begin":
                status = data.draw(
                    st.sampled_from((None, EventStatus.PENDING, EventStatus.DEAD)), "status"
                )
                begun.append(await begin_replay(store, Criteria(status=status)))
            case "advance" if begun:
                number = data.draw(st.sampled_from(begun), "which").number
                await advance_replay(store, number, LATER, 2)
                risen = [
                    ref
                    for ref, standing in read_standings(engine).items()
                    if standing.revision > before[ref].revision
                ]
                ledger.note_marks(number, risen)
            case "apply":
                await have_applied(store, now=LATER)
                ledger.note_applied(
                    ref for ref, standing in before.items() if standing.state is EntityState.PENDING
                )
            case "refuse":
                await have_refused(store, now=LATER)
            case _:
                pass  # nothing to receive or to advance
        standings = read_standings(engine)
        for each in begun:
            found = await look_at(store, each.replay_id)
            said = (found.marked, found.applied, found.waiting, found.dead, found.superseded)
            assert said == (
                ledger.marked[each.number],
                ledger.applied[each.number],
                ledger.count(each.number, EntityState.PENDING, standings),
                ledger.count(each.number, EntityState.DEAD, standings),
                ledger.superseded[each.number],
            )
            assert found.marked == sum(said[1:])


@pytest.mark.parametrize("status", [None, EventStatus.APPLIED])
async def test_replay_requeues_entities_without_an_event(
    store: Store, engine: Engine, status: EventStatus | None
) -> None:
    purged, fallen = World(), World()
    await store.store_events([purged.trip("created"), fallen.membership("created", at=1)], NOW)
    await store.store_events([fallen.trip("deleted", at=2)], NOW)
    await have_applied(store, now=LATER)
    await store.write(retention.purge_chunk, after(NOW, 1), 100)
    criteria = Criteria(status=status)
    assert await store.scan(replay_queries.count_matches, criteria) == Matches(0, 3)
    assert (await replay(store, criteria)).marked == 3
    picked = {entity.ref: entity.row for entity in await claim(store, LATER, 10)}
    assert set(picked) == set(read_standings(engine))
    assert picked[ref_of(fallen.membership("deleted"))] is None


async def test_replay_of_an_entity_with_purged_events_requeues_it(store: Store) -> None:
    event = World().trip("created")
    await store.store_events([event, World().trip("created")], NOW)
    await have_applied(store)
    await store.write(retention.purge_chunk, after(NOW, 1), 100)
    for criteria, marked in (
        (Criteria(entity=ref_of(event)), 1),
        (Criteria(entity=ref_of(event), status=EventStatus.APPLIED), 1),
        (Criteria(entity=ref_of(event), status=EventStatus.DEAD), 0),
        (Criteria(entity=ref_of(event), since=NOW), 0),
    ):
        assert await store.scan(replay_queries.count_matches, criteria) == Matches(0, marked)
        assert (await replay(store, criteria)).marked == marked
        await have_applied(store)


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(),
        Criteria(status=EventStatus.APPLIED),
        Criteria(types=(EventType.TRIP_CREATED,)),
        Criteria(event_ids=()),
    ],
    ids=["all", "status", "types", "event_ids"],
)
@pytest.mark.parametrize("found", [1, 3, 100])
async def test_replay_resumes_after_the_store_is_reopened(
    store_url: str, engine: Engine, criteria: Criteria, found: int
) -> None:
    trips = [World().trip("created") for _ in range(10)]
    store = await Store.open(store_url)
    await store.store_events(trips, NOW)
    await have_applied(store)
    if criteria.event_ids is not None:
        criteria = Criteria(event_ids=tuple(event.event_id for event in trips))
    begun = await begin_replay(store, criteria)
    goes_on, times = True, 0
    while goes_on:
        goes_on = await advance_replay(store, begun.number, NOW, 3, found=found)
        assert await store.read(replay_queries.find_running_replay) == (
            begun.number if goes_on else None
        )
        # Requeued entities are applied before the replay continues: it must not requeue them again.
        await have_applied(store)
        await store.close()
        store = await Store.open(store_url)
        times += 1
        assert times <= 20
    ended = await look_at(store, begun.replay_id)
    assert (ended.status, ended.marked, ended.applied) == (ReplayStatus.COMPLETED, 10, 10)
    assert {standing.revision for standing in read_standings(engine).values()} == {2}
    await store.close()


async def test_replay_ends_while_events_keep_arriving(store: Store) -> None:
    await store.store_events([World().trip("created") for _ in range(50)], NOW)
    types = (EventType.TRIP_CREATED,)
    begun = await begin_replay(store, Criteria(types=types))
    steps = 0
    while await advance_replay(store, begun.number, NOW, 5):
        await store.store_events([World().trip("created") for _ in range(3)], NOW)
        steps += 1
        assert steps < 200
    assert (await look_at(store, begun.replay_id)).marked >= 50


async def test_replay_requeues_new_entities_only_ahead_of_its_position(
    store: Store, engine: Engine
) -> None:
    """In the order of the keys, two at a time."""
    behind, *known, ahead = sorted(str(uuid.uuid4()) for _ in range(8))
    world = World(trips=(behind, *known, ahead))
    await store.store_events([world.trip("created", n) for n in range(1, 7)], NOW)
    begun = await begin_replay(store, Criteria(types=(EventType.TRIP_CREATED,)))
    assert await advance_replay(store, begun.number, NOW, 2)
    await store.store_events([world.trip("created", 0), world.trip("created", 7)], NOW)
    while await advance_replay(store, begun.number, NOW, 2):
        pass
    ended = await look_at(store, begun.replay_id)
    assert (ended.matches.entities, ended.marked) == (6, 7)
    revisions = {ref.key: standing.revision for ref, standing in read_standings(engine).items()}
    assert revisions == {behind: 1} | dict.fromkeys((*known, ahead), 2)


async def test_replay_advanced_twice_at_once_requeues_each_entity_once(
    store: Store, engine: Engine
) -> None:
    await store.store_events([World().trip("created") for _ in range(20)], NOW)
    begun = await begin_replay(store, Criteria())
    # As found by another replica, or before a commit whose result was lost.
    stale = await store.scan(replay_queries.find_targets, begun.number, 7)
    for _ in range(2):
        assert await advance_replay(store, begun.number, NOW, 5) is True
    assert await store.write(replay_queries.requeue_targets, begun.number, stale, NOW) is True
    while await advance_replay(store, begun.number, NOW, 5):
        pass
    ended = await look_at(store, begun.replay_id)
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, 20)
    assert {each.revision for each in read_standings(engine).values()} == {2}


async def test_replay_that_failed_requeues_nothing_more(store: Store, engine: Engine) -> None:
    await store.store_events([World().trip("created") for _ in range(4)], NOW)
    begun = await begin_replay(store, Criteria())
    assert await advance_replay(store, begun.number, NOW, 1) is True
    await store.write(replay_queries.fail_replay, begun.number)
    assert await advance_replay(store, begun.number, NOW, 1) is False
    found = await look_at(store, begun.replay_id)
    assert (found.status, found.marked, found.waiting) == (ReplayStatus.FAILED, 1, 1)
    assert await store.read(replay_queries.find_running_replay) is None
    assert sum(each.revision for each in read_standings(engine).values()) == 5


async def test_replays_run_and_are_listed_in_order_of_request(store: Store) -> None:
    begun = [await begin_replay(store, Criteria()) for _ in range(5)]
    assert await store.read(replay_queries.find_running_replay) == begun[0].number
    page = await store.search(replay_queries.read_replay_page, None, 2)
    assert [each.number for each in page.replays] == [begun[4].number, begun[3].number]
    assert page.next_number == begun[3].number
    last = await store.search(replay_queries.read_replay_page, begun[3].number, 3)
    assert [each.number for each in last.replays] == [each.number for each in begun[2::-1]]
    assert last.next_number is None
