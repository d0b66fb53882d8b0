"""The behaviour of a store on both databases."""

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from app.domain.criteria import Criteria
from app.domain.entities import EntityRef, EntityState, EventStatus, Kind, PendingEntity
from app.domain.errors import StoreUnavailable
from app.domain.events import Event, EventId
from app.domain.instants import Instant, after
from app.store import backlog_queries, dispatch_queries, event_queries
from app.store.outcome_queries import Applied
from app.store.receive import Receipt
from app.store.schema import metadata
from app.store.store import Store
from tests.examples import with_shared_fixtures
from tests.histories import NOW, World, find_desired_rows, histories, make_event, ref_of
from tests.store.store_steps import claim, fail, have_applied, record, replay


async def read_rows(store: Store, refs: Sequence[EntityRef]) -> dict[EntityRef, str | None]:
    """Read the desired rows as the dispatcher would get them: by having everything picked."""
    await replay(store)
    picked = await claim(store, after(NOW, 3600), 100_000)
    return {entity.ref: entity.row for entity in picked if entity.ref in set(refs)}


async def pick(store: Store, *, now: Instant = NOW, limit: int = 1000) -> list[PendingEntity]:
    return await claim(store, now, limit)


def read_everything(engine: Engine) -> str:
    """Return the contents of all tables as text."""
    with engine.connect() as connection:
        return "\n".join(
            repr(row)
            for table in metadata.sorted_tables
            for row in connection.execute(select(table)).all()
        )


async def status_of(store: Store, event: Event) -> EventStatus:
    found = await store.read(event_queries.find_event, event.event_id)
    assert found is not None
    return found.status


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_store_given_any_history_in_any_groups_desires_what_the_oracle_says(
    store: Store, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    world, events = history
    rest = list(events)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        group, rest = rest[:size], rest[size:]
        await store.store_events(group, NOW)
        if data.draw(st.booleans()):
            await have_applied(store)
    expected = find_desired_rows(events)
    assert await read_rows(store, world.refs()) == expected


@with_shared_fixtures
@given(history=histories(instants=200, most=12), data=st.data())
async def test_store_given_distinct_instants_desires_the_same_in_every_order(
    store: Store, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    world, events = history
    by_instant = {event.occurred_at: event for event in events}
    ordered = [by_instant[instant] for instant in sorted(by_instant)]
    shuffled = data.draw(st.permutations(ordered))
    repeated = shuffled + data.draw(st.lists(st.sampled_from(ordered), max_size=5))
    for event in repeated:
        await store.store_events([event], NOW)
    assert await read_rows(store, world.refs()) == find_desired_rows(ordered)


@with_shared_fixtures
@given(history=histories(), data=st.data())
async def test_store_applied_entities_always_stand_at_the_row_that_was_written(
    store: Store, history: tuple[World, list[Event]], data: st.DataObject
) -> None:
    world, events = history
    written: dict[EntityRef, str | None] = {}
    own = set(world.refs())
    for event in events:
        await store.store_events([event], NOW)
        if data.draw(st.booleans()):
            picked = [entity for entity in await pick(store) if entity.ref in own]
            written |= {entity.ref: entity.row for entity in picked}
            await record(store, [Applied(entity) for entity in picked], NOW)
    pending = {entity.ref for entity in await pick(store)}
    desired = find_desired_rows(events)
    settled = {ref: row for ref, row in desired.items() if ref not in pending}
    # A tombstone that was never written needs no write either, as long as it is still pending.
    assert settled == {ref: written[ref] for ref in settled}


async def test_store_given_an_event_again_says_duplicate_and_changes_nothing(store: Store) -> None:
    event = World().user("created")
    assert await store.store_events([event], NOW) == [Receipt.ACCEPTED]
    await have_applied(store)
    assert await store.store_events([event, event], NOW) == [Receipt.DUPLICATE] * 2
    assert await pick(store) == []


async def test_store_given_an_id_with_another_body_says_conflict_and_keeps_the_first(
    store: Store,
) -> None:
    first = make_event("trip.deleted", {"id": World().trips[0]}, event_id="evt_1")
    second = make_event("trip.deleted", {"id": World().trips[0]}, event_id="evt_1")
    assert await store.store_events([first, second], NOW) == [Receipt.ACCEPTED, Receipt.CONFLICT]
    assert [entity.ref for entity in await pick(store)] == [ref_of(first)]


async def test_store_given_one_id_for_two_entities_at_once_keeps_the_first(store: Store) -> None:
    world = World()
    first = world.user("created", 0)
    second = world.user("created", 1)._replace(event_id=first.event_id)
    receipts = await store.store_events([first, second], NOW)
    assert receipts == [Receipt.ACCEPTED, Receipt.CONFLICT]
    assert [entity.ref for entity in await pick(store)] == [ref_of(first)]


async def test_store_update_that_changes_no_column_costs_no_write(store: Store) -> None:
    world = World()
    await store.store_events([world.trip("created", at=1)], NOW)
    await have_applied(store)
    update = world.trip("updated", at=2)
    await store.store_events([update], NOW)
    assert await pick(store) == []
    assert await status_of(store, update) is EventStatus.APPLIED


async def test_store_row_that_returns_while_another_is_pending_is_written(store: Store) -> None:
    # The one between may have landed at Supabase without our knowing.
    world = World()
    await store.store_events([world.trip("created", at=1, name="Lisbon")], NOW)
    await have_applied(store)
    await store.store_events([world.trip("updated", at=2, name="Porto")], NOW)
    await store.store_events([world.trip("updated", at=3, name="Lisbon")], NOW)
    (entity,) = await pick(store)
    assert entity.row is not None
    assert json.loads(entity.row)["name"] == "Lisbon"


async def test_store_removal_at_the_same_instant_wins_in_either_order(store: Store) -> None:
    for order in ((0, 1), (1, 0)):
        world = World()
        pair = (world.membership("created", at=5), world.membership("deleted", at=5))
        for index in order:
            await store.store_events([pair[index]], NOW)
        rows = await read_rows(store, [ref_of(pair[0])])
        assert rows == {ref_of(pair[0]): None}


async def test_store_inactive_status_at_the_same_instant_wins_in_either_order(
    store: Store,
) -> None:
    for order in ((0, 1), (1, 0)):
        world = World()
        pair = (
            world.membership("updated", at=5),
            world.membership("updated", at=5, status="INACTIVE"),
        )
        for index in order:
            await store.store_events([pair[index]], NOW)
        rows = await read_rows(store, [ref_of(pair[0])])
        assert rows == {ref_of(pair[0]): pair[1].row}


async def test_store_membership_older_than_a_removal_that_lost_stays_removed(store: Store) -> None:
    world = World()
    membership = world.membership("created", at=1)
    # The trip was removed at 2 and created again at 3; what is from before 2 does not come back.
    for event in (world.trip("created", at=3), world.trip("deleted", at=2), membership):
        await store.store_events([event], NOW)
    rows = await read_rows(store, [ref_of(membership)])
    assert rows == {ref_of(membership): None}
    assert await status_of(store, membership) is EventStatus.SUPERSEDED


async def test_store_pending_grant_that_becomes_a_removal_is_claimed_first(store: Store) -> None:
    worlds = [World() for _ in range(5)]
    await store.store_events([world.membership("created", at=1) for world in worlds], NOW)
    await store.store_events([worlds[-1].membership("deleted", at=2)], NOW)
    (first,) = await pick(store, limit=1)
    assert first.ref == ref_of(worlds[-1].membership("deleted"))


async def test_store_newer_event_of_a_refused_entity_is_due_at_once(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created", at=1)], NOW)
    (entity,) = await pick(store)
    await record(store, [fail(entity, state=EntityState.PENDING)], NOW)
    await store.store_events([world.user("updated", at=2, name="cy")], after(NOW, 1))
    assert [again.ref for again in await pick(store, now=after(NOW, 1))] == [entity.ref]


async def test_store_removal_of_a_parent_waiting_for_its_retry_is_due_at_once(
    store: Store,
) -> None:
    world = World()
    await store.store_events([world.trip("created", at=1)], NOW)
    await have_applied(store)
    await store.store_events([world.membership("created", at=1)], NOW)
    (child,) = await pick(store)
    await record(store, [fail(child, state=EntityState.PENDING, awaits_parent=True)], NOW)
    assert await pick(store) == []
    await store.store_events([world.trip("deleted", at=2)], after(NOW, 1))
    due = {entity.ref for entity in await pick(store, now=after(NOW, 1))}
    assert due == {child.ref, ref_of(world.trip("deleted"))}


async def test_store_late_event_does_not_bring_back_a_removal_of_the_same_instant(
    store: Store,
) -> None:
    world = World()
    inactive = world.membership("updated", at=5, status="INACTIVE")
    for event in (world.trip("deleted", at=5), inactive, world.membership("created", at=1)):
        await store.store_events([event], NOW)
    assert await read_rows(store, [ref_of(inactive)]) == {ref_of(inactive): inactive.row}


async def test_store_late_membership_falls_to_the_later_of_two_removals(store: Store) -> None:
    for later, earlier in (("trip", "user"), ("user", "trip")):
        world = World()
        removals = {"trip": world.trip, "user": world.user}
        membership = world.membership("created", at=2)
        events = [removals[later]("deleted", at=3), removals[earlier]("deleted", at=1), membership]
        await store.store_events(events, NOW)
        assert await read_rows(store, [ref_of(membership)]) == {ref_of(membership): None}


async def test_store_outcome_of_an_older_revision_leaves_the_entity_pending(store: Store) -> None:
    world = World()
    await store.store_events([world.trip("created", at=1)], NOW)
    picked = await pick(store)
    await store.store_events([world.trip("updated", at=2, name="Porto")], NOW)
    await record(store, [Applied(picked[0])], NOW)
    await record(store, [fail(picked[0])], NOW)
    (entity,) = await pick(store)
    assert (entity.revision, entity.attempts) == (2, 0)


async def test_store_replay_during_a_write_is_written_again(store: Store) -> None:
    world = World()
    await store.store_events([world.trip("created")], NOW)
    (entity,) = await pick(store)
    await replay(store, Criteria(entity=entity.ref))
    await record(store, [Applied(entity)], NOW)
    assert [again.ref for again in await pick(store)] == [entity.ref]


async def test_store_refused_entity_waits_and_a_newer_event_revives_it(store: Store) -> None:
    world = World()
    event = world.user("created", at=1)
    await store.store_events([event], NOW)
    (entity,) = await pick(store)
    await record(store, [fail(entity, state=EntityState.PENDING)], NOW)
    assert await pick(store) == []
    assert await store.read(dispatch_queries.find_next_due, NOW) == after(NOW, 60)
    (again,) = await pick(store, now=after(NOW, 60))
    await record(store, [fail(again)], NOW)
    assert (await store.read(backlog_queries.measure_backlog, NOW)).dead == 1
    assert await status_of(store, event) is EventStatus.DEAD
    assert await store.read(dispatch_queries.find_next_due, NOW) is None
    await store.store_events([world.user("updated", at=2, name="cy")], NOW)
    (revived,) = await pick(store)
    assert revived.attempts == 0
    assert (await store.read(backlog_queries.measure_backlog, NOW)).dead == 0


async def test_store_child_that_awaits_its_parent_is_due_when_the_parent_is_applied(
    store: Store,
) -> None:
    for parent in ("trip", "user"):
        world = World()
        await store.store_events([world.membership("created")], NOW)
        (child,) = await pick(store)
        await record(store, [fail(child, state=EntityState.PENDING, awaits_parent=True)], NOW)
        assert await pick(store) == []
        event = world.trip("created") if parent == "trip" else world.user("created")
        await store.store_events([event], NOW)
        await have_applied(store)
        assert [entity.ref for entity in await pick(store)] == [child.ref]
        await have_applied(store)


@pytest.mark.parametrize("parent", ["trip", "user"])
async def test_store_removed_parent_has_newer_memberships_written_again(
    store: Store, parent: str
) -> None:
    # Supabase may have cascaded the removal to a membership that was written before it.
    world = World()
    make_parent = world.trip if parent == "trip" else world.user
    newer = world.membership("created", at=3)
    older = world.membership("created", trip=parent == "user", user=parent == "trip", at=1)
    for event in (make_parent("created", at=1), older, make_parent("deleted", at=2), newer):
        await store.store_events([event], NOW)
    await have_applied(store)
    assert [entity.ref for entity in await pick(store)] == [ref_of(newer)]
    await have_applied(store)
    assert await pick(store) == []


@pytest.mark.parametrize("parent", ["trip", "user"])
async def test_store_parent_created_after_an_unconfirmed_removal_has_its_children_written_again(
    store: Store, parent: str
) -> None:
    # The removal was sent and its response lost: Supabase may have cascaded it.
    world = World()
    make_parent = world.trip if parent == "trip" else world.user
    membership = world.membership("created", at=6)
    await store.store_events([world.user("created", at=1), membership], NOW)
    await store.store_events([world.trip("created", at=1)], NOW)
    await have_applied(store)
    await store.store_events([make_parent("deleted", at=5)], NOW)
    await store.store_events([make_parent("created", at=7)], NOW)
    await have_applied(store)
    assert [entity.ref for entity in await pick(store)] == [ref_of(membership)]
    await have_applied(store)
    assert await pick(store) == []


async def test_store_removed_user_is_erased_from_every_table(store: Store, engine: Engine) -> None:
    world = World()
    early, late = (world.user("updated", at=at, name=f"secretperson{at}") for at in (1, 2))
    await store.store_events([early], NOW)
    assert "secretperson1" in read_everything(engine)
    await have_applied(store)
    await store.store_events([world.user("deleted", at=3)], NOW)
    await store.store_events([late], NOW)
    assert "secretperson" not in read_everything(engine)
    assert await store.store_events([early], NOW) == [Receipt.DUPLICATE]


async def test_sqlite_store_removed_user_is_erased_from_the_file_and_its_log(
    sqlite_store: Store, store_path: Path
) -> None:
    store = sqlite_store
    world = World()
    early, late = (world.user("updated", at=at, name=f"secretperson{at}") for at in (1, 2))
    await store.store_events([early], NOW)
    await have_applied(store)
    await store.store_events([world.user("deleted", at=3)], NOW)
    await store.store_events([late], NOW)
    for path in store_path.parent.iterdir():
        assert b"secretperson" not in path.read_bytes(), path.name
    assert await store.store_events([early], NOW) == [Receipt.DUPLICATE]


async def test_sqlite_store_erasure_that_a_reader_delays_is_made_up_for(
    sqlite_store: Store, store_path: Path
) -> None:
    store = sqlite_store
    world = World()
    await store.store_events([world.user("created", at=1, name="secretperson")], NOW)
    reader = sqlite3.connect(store_path)
    reader.execute("PRAGMA busy_timeout = 0")
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
    # The log cannot be emptied while a reader uses it.
    await store.store_events([world.user("deleted", at=2)], NOW)
    reader.rollback()
    reader.close()
    await store.store_events([world.trip("created")], NOW)
    for path in store_path.parent.iterdir():
        assert b"secretperson" not in path.read_bytes(), path.name


async def test_store_user_created_again_after_a_removal_keeps_the_new_row(store: Store) -> None:
    world = World()
    again = world.user("created", at=3, name="returned")
    for event in (world.user("created", at=1), again, world.user("deleted", at=2)):
        await store.store_events([event], NOW)
    assert await read_rows(store, [ref_of(again)]) == {ref_of(again): again.row}


async def test_store_reopened_contains_everything(store_url: str) -> None:
    world = World()
    events = [world.user("created"), world.trip("created"), world.membership("created")]
    first = await Store.open(store_url)
    await first.store_events(events, NOW)
    await first.close()
    second = await Store.open(store_url)
    assert {entity.ref for entity in await pick(second)} == {ref_of(event) for event in events}
    await second.close()


async def test_store_closed_accepts_nothing(store_url: str) -> None:
    store = await Store.open(store_url)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.store_events([World().user("created")], NOW)


async def test_sqlite_store_locked_by_somebody_else_is_unavailable_and_recovers(
    sqlite_store: Store, store_path: Path
) -> None:
    store = sqlite_store
    event = World().user("created")
    other = sqlite3.connect(store_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await store.store_events([event], NOW)
    failures = [store.failure]
    other.execute("ROLLBACK")
    other.close()
    assert await store.store_events([event], NOW) == [Receipt.ACCEPTED]
    failures.append(store.failure)
    assert failures == ["database is locked", None]


async def test_store_given_many_at_once_answers_each_its_own(store: Store) -> None:
    events = [World().user("created") for _ in range(300)]
    twice = list(itertools.chain.from_iterable(zip(events, events, strict=True)))
    receipts = await asyncio.gather(*(store.store_events([event], NOW) for event in twice))
    assert receipts == [[Receipt.ACCEPTED], [Receipt.DUPLICATE]] * 300
    assert (await store.read(backlog_queries.measure_backlog, NOW)).pending == 300


async def test_store_asked_for_an_unknown_event_finds_none(store: Store) -> None:
    assert await store.read(event_queries.find_event, EventId("nowhere")) is None


async def test_store_asked_for_many_events_finds_those_that_are_stored(store: Store) -> None:
    events = [World().user("created") for _ in range(3)]
    await store.store_events(events, NOW)
    ids = [EventId(f"unknown-{n}") for n in range(1200)] + [event.event_id for event in events]
    assert set(await store.read(event_queries.find_events, ids)) == {
        event.event_id for event in events
    }


async def test_claimed_entity_names_the_event_that_decided_it(store: Store) -> None:
    world = World()
    joined, removed = world.membership("created", at=1), world.trip("deleted", at=2)
    await store.store_events([joined, removed], NOW)
    claimed = await pick(store)
    assert {entity.ref.kind: entity.event_id for entity in claimed} == {
        Kind.MEMBERSHIP: removed.event_id,
        Kind.TRIP: removed.event_id,
    }
