"""What the dispatcher is given next, and what becomes of what it records."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, Engine, select, text

from app.domain.criteria import Criteria
from app.domain.entities import EntityRef, EntityState, EventStatus, Kind, PendingEntity, Priority
from app.domain.events import Event
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.domain.instants import Instant, after
from app.domain.retry import (
    ALONE_LIMIT_SECONDS,
    BACKOFF_LIMIT_SECONDS,
    REFERENCE_WAIT_LIMIT_SECONDS,
    decide_retry,
    decide_retry_alone,
)
from app.store import backlog_queries, dispatch_queries, event_queries, outcome_queries
from app.store.dispatch_queries import Batch, Held, Wanted
from app.store.outcome_queries import Applied, Failed, Outcome, Postponed
from app.store.receive import CASCADE_FROM_USER
from app.store.schema import entities
from app.store.store import Store
from tests.histories import NOW, World, ref_of
from tests.store.store_steps import claim, fail, have_applied, have_refused, record, replay

LIMITS: Final = dict.fromkeys(Priority, 500)
REFERENCE: Final = RowFailure(RowFailureKind.MISSING_REFERENCE, "23503", "no such trip")
CONFLICT: Final = RowFailure(RowFailureKind.UNIQUE_CONFLICT, "23505", "taken")
BUSY: Final = RowFailure(RowFailureKind.BUSY, "55P03", "locked")
TIMEOUT: Final = RequestFailure(RequestFailureKind.UNAVAILABLE, "57014", "took too long")

MANY: Final = 100_000
FILL: Final = """
INSERT INTO entities (kind, key, occurred_at, is_removal, sequence, row, state, priority, revision,
                      pending_since, due_at, attempts, awaits_parent)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :many)
SELECT CASE n % 3 WHEN 0 THEN 'user' WHEN 1 THEN 'trip' ELSE 'membership' END,
       'key-' || n, n, FALSE, n, '{}', 'pending', 1, 1, 1, (n % 2) * n, 0, FALSE
FROM numbers
"""


def want(
    order: Sequence[Priority] = tuple(Priority),
    *,
    limit: int | None = None,
    held: frozenset[Held] = frozenset(),
    trial: Held | None = None,
    deletes_inactive: bool = False,
    excluded: Mapping[EntityRef, int] | None = None,
) -> Wanted:
    limits = LIMITS if limit is None else dict.fromkeys(Priority, limit)
    return Wanted(order, limits, held, trial, deletes_inactive, excluded or {})


async def claim_refs(store: Store, wanted: Wanted, now: Instant = NOW) -> set[EntityRef]:
    batch = await store.read(dispatch_queries.claim, now, wanted)
    return set() if batch is None else {entity.ref for entity in batch.entities}


async def claim_one(store: Store, now: Instant = NOW) -> PendingEntity:
    (entity,) = await claim(store, now, 10)
    return entity


async def drain(store: Store, now: Instant = NOW) -> list[Batch]:
    """Claim one batch after the other, each applied by the time that the next is claimed."""
    batches = []
    batch = await store.read(dispatch_queries.claim, now, want())
    while batch is not None:
        batches.append(batch)
        outcomes = [Applied(entity) for entity in batch.entities]
        batch = await store.write(outcome_queries.record_and_claim, now, outcomes, want())
    return batches


def fail_by(entity: PendingEntity, failure: RowFailure, *, now: Instant = NOW) -> Failed:
    """Return the outcome of an entity that failed, as the dispatcher decides it."""
    decision = decide_retry(entity, failure, now, 1.0)
    return Failed(entity, failure.code, failure.message, decision)


def fail_alone(entity: PendingEntity, *, now: Instant = NOW) -> Failed:
    """Return the outcome of an entity that failed alone in its request."""
    decision = decide_retry_alone(entity, TIMEOUT, now, 1.0)
    return Failed(entity, TIMEOUT.code, TIMEOUT.message, decision)


def read_due(engine: Engine) -> dict[EntityRef, tuple[str, int]]:
    """Read the state of every entity and when it is due."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(entities.c.kind, entities.c.key, entities.c.state, entities.c.due_at)
        ).all()
    return {EntityRef(Kind(row.kind), row.key): (row.state, row.due_at) for row in rows}


# --- the order of the queues -------------------------------------------------------------------


async def test_claim_returns_revocations_then_writes_then_deletes(store: Store) -> None:
    """However long the others have been waiting."""
    old, new = World(), World()
    await store.store_events([old.trip("deleted"), old.user("deleted")], NOW)
    await store.store_events(
        [new.membership("created"), new.trip("created"), new.user("created")], NOW
    )
    revoked = [
        new.membership("deleted", 1),
        new.membership("updated", 1, 1, status="INACTIVE"),
    ]
    await store.store_events(revoked, after(NOW, 1))
    batches = await drain(store, after(NOW, 1))
    assert [batch.priority for batch in batches] == [
        Priority.REVOCATION,
        Priority.WRITE,
        Priority.DELETE,
    ]
    assert {entity.ref for entity in batches[0].entities} == set(map(ref_of, revoked))
    # What a row refers to comes before it.
    assert [entity.ref.kind for entity in batches[1].entities] == ["user", "trip", "membership"]
    assert {entity.ref for entity in batches[2].entities} == {
        ref_of(old.trip("deleted")),
        ref_of(old.user("deleted")),
    }


@pytest.mark.parametrize("kind", ["trip", "user"])
async def test_claim_revokes_the_memberships_of_a_removed_parent_before_it_is_deleted(
    store: Store, kind: str
) -> None:
    world = World()
    joined = world.membership("created", at=1)
    await store.store_events([world.user("created"), world.trip("created"), joined], NOW)
    await have_applied(store)
    removed = getattr(world, kind)("deleted", at=2)
    await store.store_events([removed], NOW)
    batches = await drain(store)
    refs = [(batch.priority, [each.ref for each in batch.entities]) for batch in batches]
    assert refs == [
        (Priority.REVOCATION, [ref_of(joined)]),
        (Priority.DELETE, [ref_of(removed)]),
    ]


async def test_claim_returns_replays_in_the_same_order_after_fresh_changes(store: Store) -> None:
    old, new = World(), World()
    await store.store_events(
        [
            old.trip("deleted"),
            old.user("created"),
            old.membership("updated", 1, status="INACTIVE"),
        ],
        NOW,
    )
    await have_applied(store)
    await replay(store)
    later = after(NOW, 5)
    await store.store_events(
        [new.trip("deleted"), new.user("created"), new.membership("deleted", 1)], later
    )
    batches = await drain(store, later)
    assert [batch.priority for batch in batches] == list(Priority)[:6]
    assert [len(batch.entities) for batch in batches] == [1] * 6


async def test_claim_returns_retries_after_the_rest_and_entities_alone_last(store: Store) -> None:
    world = World()
    events = [
        world.membership("deleted", 1),
        world.user("created"),
        world.trip("deleted"),
        world.user("created", 1),
    ]
    await store.store_events(events, NOW)
    failed = {entity.ref: entity for entity in await claim(store, NOW, 10)}
    *retried, alone = (failed[ref_of(event)] for event in events)
    await record(store, [*(fail_by(each, BUSY) for each in retried), fail_alone(alone)], NOW)
    fresh = World().user("created")
    await store.store_events([fresh], after(NOW, 60))
    batches = await drain(store, after(NOW, 60))
    assert [(batch.priority, [each.ref for each in batch.entities]) for batch in batches] == [
        (Priority.WRITE, [ref_of(fresh)]),
        (Priority.RETRIED_REVOCATION, [ref_of(events[0])]),
        (Priority.RETRIED_WRITE, [ref_of(events[1])]),
        (Priority.RETRIED_DELETE, [ref_of(events[2])]),
        (Priority.ALONE, [ref_of(events[3])]),
    ]


async def test_claim_reads_the_wanted_queues_in_order_and_no_others(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created"), world.trip("deleted")], NOW)
    order = (Priority.DELETE, Priority.REVOCATION)
    assert await claim_refs(store, want(order)) == {ref_of(world.trip("deleted"))}
    assert await claim_refs(store, want((Priority.REVOCATION,))) == set()


async def test_claim_replay_of_what_is_dead_is_as_fresh_as_an_event(store: Store) -> None:
    event = World().user("created")
    await store.store_events([event], NOW)
    await have_refused(store)
    await replay(store, Criteria(status=EventStatus.DEAD))
    batch = await store.read(dispatch_queries.claim, NOW, want())
    assert batch is not None
    assert (batch.priority, batch.entities[0].ref) == (Priority.WRITE, ref_of(event))


async def test_claim_newer_event_of_a_failed_entity_leaves_the_queue_of_retries(
    store: Store,
) -> None:
    world = World()
    await store.store_events([world.membership("created", at=1)], NOW)
    await record(store, [fail_alone(await claim_one(store))], NOW)
    await store.store_events([world.membership("deleted", at=2)], NOW)
    batch = await store.read(dispatch_queries.claim, NOW, want())
    assert batch is not None
    assert batch.priority is Priority.REVOCATION
    (entity,) = batch.entities
    assert (entity.attempts, entity.last_error_code, entity.waiting_since) == (0, None, None)
    # It shares no request all the same: what failed may fail again.
    assert entity.request_limit == 1


# --- how much of them --------------------------------------------------------------------------


async def test_claim_returns_no_more_than_the_limit_of_the_queue(store: Store) -> None:
    worlds = [World() for _ in range(5)]
    await store.store_events([world.user("created") for world in worlds], NOW)
    await store.store_events([world.membership("deleted") for world in worlds], NOW)
    limits = {**LIMITS, Priority.REVOCATION: 2, Priority.WRITE: 3}
    sizes = {
        priority: len(await claim_refs(store, replace(want((priority,)), limits=limits)))
        for priority in (Priority.REVOCATION, Priority.WRITE)
    }
    assert sizes == {Priority.REVOCATION: 2, Priority.WRITE: 3}


async def test_claim_never_puts_an_entity_into_a_larger_request_than_it_may_be_in(
    store: Store,
) -> None:
    events = [World().trip("created") for _ in range(10)]
    await store.store_events(events, NOW)
    picked = await claim(store, NOW, 10)
    limits = (None, None, None, 5, 5, 5, 5, 1, 1, None)
    await record(
        store,
        [
            Postponed(entity, limit)
            for entity, limit in zip(picked, limits, strict=True)
            if limit is not None
        ],
        NOW,
    )
    batches = await drain(store)
    assert sorted(entity.ref for batch in batches for entity in batch.entities) == sorted(
        map(ref_of, events)
    )
    assert len(batches) > 3
    for batch in batches:
        most = [each.request_limit for each in batch.entities if each.request_limit is not None]
        assert len(batch.entities) <= min(most, default=500)


async def test_postponed_entities_are_tried_after_the_others_and_their_limit_ends_with_success(
    store: Store,
) -> None:
    postponed, other = World(), World()
    await store.store_events([postponed.user("created", at=1)], NOW)
    entity = await claim_one(store)
    await record(store, [Postponed(entity, 1)], NOW)
    await store.store_events([other.user("created")], NOW)
    assert [each.ref for each in await claim(store, NOW, 1)] == [ref_of(other.user("created"))]
    batches = await drain(store)
    assert [each.ref for each in batches[-1].entities] == [entity.ref]
    again = batches[-1].entities[0]
    assert (again.request_limit, again.attempts, again.revision) == (1, 0, entity.revision)
    await store.store_events([postponed.user("updated", at=2, name="cy")], NOW)
    assert (await claim_one(store)).request_limit is None


async def test_postponed_entity_that_has_changed_since_is_not_postponed(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created", at=1)], NOW)
    entity = await claim_one(store)
    await store.store_events([world.user("updated", at=2, name="cy")], NOW)
    await record(store, [Postponed(entity, 1)], NOW)
    assert (await claim_one(store)).request_limit is None


# --- what is left out --------------------------------------------------------------------------


def make_mixed() -> dict[str, Event]:
    """Make one of each kind of change to memberships and trips, each of another entity."""
    return {
        "deleted": World().membership("deleted"),
        "inactive": World().membership("updated", status="INACTIVE"),
        "created": World().membership("created"),
        "trip": World().trip("created"),
        "trip deleted": World().trip("deleted"),
    }


async def fail_all(store: Store) -> None:
    """Let every due entity fail, to be retried at once."""
    failed = [
        fail(entity, state=EntityState.PENDING) for entity in await claim(store, NOW, 100_000)
    ]
    await record(
        store,
        [
            replace(
                each,
                decision=replace(
                    each.decision,
                    priority=Priority(Priority.RETRIED_REVOCATION + each.entity.priority),
                    due_at=NOW,
                ),
            )
            for each in failed
        ],
        NOW,
    )


@pytest.mark.parametrize("deletes_inactive", [False, True])
@pytest.mark.parametrize("is_delete", [False, True])
async def test_claim_leaves_out_the_held_writes_or_deletes_of_a_kind(
    store: Store, *, is_delete: bool, deletes_inactive: bool
) -> None:
    """Whether an inactive membership is deleted in Supabase depends on the mapping."""
    events = make_mixed()
    await store.store_events(list(events.values()), NOW)
    await fail_all(store)
    deletes = {"deleted", "inactive"} if deletes_inactive else {"deleted"}
    out = deletes if is_delete else {"deleted", "inactive", "created"} - deletes
    held = frozenset({Held(Kind.MEMBERSHIP, is_delete)})
    seen: set[EntityRef] = set()
    for priority in Priority:
        wanted = want((priority,), held=held, deletes_inactive=deletes_inactive)
        seen |= await claim_refs(store, wanted)
    assert seen == {ref_of(event) for name, event in events.items() if name not in out}


async def test_claim_leaves_out_every_place_that_is_held(store: Store) -> None:
    events = make_mixed()
    await store.store_events(list(events.values()), NOW)
    await fail_all(store)
    held = frozenset(Held(kind, is_delete) for kind in Kind for is_delete in (False, True))
    assert await store.read(dispatch_queries.claim, NOW, want(held=held)) is None
    held -= {Held(Kind.TRIP, is_delete=True)}
    assert await claim_refs(store, want(held=held)) == {ref_of(events["trip deleted"])}


async def test_claim_returns_fresh_changes_of_held_entities(store: Store) -> None:
    event = World().membership("deleted")
    await store.store_events([event], NOW)
    held = frozenset({Held(Kind.MEMBERSHIP, is_delete=True)})
    assert await claim_refs(store, want(held=held)) == {ref_of(event)}


@pytest.mark.parametrize("deletes_inactive", [False, True])
@pytest.mark.parametrize("is_delete", [False, True])
async def test_claim_of_a_trial_returns_one_held_entity(
    store: Store, *, is_delete: bool, deletes_inactive: bool
) -> None:
    events = make_mixed()
    await store.store_events(list(events.values()), NOW)
    place = Held(Kind.MEMBERSHIP, is_delete)
    wanted = want(held=frozenset({place}), trial=place, deletes_inactive=deletes_inactive)
    batch = await store.read(dispatch_queries.claim, NOW, wanted)
    assert batch is not None
    assert batch.priority is Priority.ALONE
    (entity,) = batch.entities
    deletes = {"deleted", "inactive"} if deletes_inactive else {"deleted"}
    names = deletes if is_delete else {"deleted", "inactive", "created"} - deletes
    assert entity.ref in {ref_of(events[name]) for name in names}


async def test_claim_of_trials_tries_another_each_time_also_those_that_are_not_due(
    store: Store,
) -> None:
    events = [World().user("created") for _ in range(4)]
    await store.store_events(events, NOW)
    place = Held(Kind.USER, is_delete=False)
    tried = []
    for seconds in range(8):
        now = after(NOW, seconds)
        batch = await store.read(
            dispatch_queries.claim, now, want(held=frozenset({place}), trial=place)
        )
        assert batch is not None
        (entity,) = batch.entities
        tried.append(entity.ref)
        await record(store, [fail_by(replace(entity, attempts=4), BUSY, now=now)], now)
    assert set(tried[:4]) == set(tried[4:]) == set(map(ref_of, events))


async def test_claim_of_a_trial_without_held_entities_returns_none(store: Store) -> None:
    await store.store_events([World().user("created")], NOW)
    trial = Held(Kind.TRIP, is_delete=False)
    assert await store.read(dispatch_queries.claim, NOW, want(trial=trial)) is None


async def test_claim_leaves_out_a_revision_that_is_excluded_and_fills_its_place(
    store: Store,
) -> None:
    worlds = [World() for _ in range(5)]
    await store.store_events([world.membership("deleted", at=1) for world in worlds], NOW)
    applied = await claim(store, NOW, 3)
    excluded = {entity.ref: entity.revision for entity in applied}
    refs = {ref_of(world.membership("deleted")) for world in worlds}
    assert await claim_refs(store, want(limit=2, excluded=excluded)) == refs - set(excluded)
    # A newer revision of one of them is another thing to write.
    again = next(world for world in worlds if ref_of(world.membership("deleted")) in excluded)
    await store.store_events([again.membership("created", at=2)], NOW)
    await store.store_events([again.membership("deleted", at=3)], NOW)
    claimed = await claim_refs(store, want(excluded=excluded))
    assert claimed == refs - set(excluded) | {ref_of(again.membership("deleted"))}


# --- claims only read --------------------------------------------------------------------------


async def test_claim_repeated_returns_the_same_and_changes_nothing(
    store: Store, engine: Engine
) -> None:
    events = list(make_mixed().values())
    await store.store_events(events, NOW)
    before = read_tables(engine)
    batches = [await store.read(dispatch_queries.claim, NOW, want()) for _ in range(3)]
    assert batches[0] == batches[1] == batches[2]
    assert read_tables(engine) == before


async def test_sqlite_claim_waits_for_no_writer(sqlite_store: Store, store_path: Path) -> None:
    event = World().user("created")
    await sqlite_store.store_events([event], NOW)
    other = sqlite3.connect(store_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await claim_refs(sqlite_store, want()) == {ref_of(event)}
    assert await sqlite_store.read(dispatch_queries.find_next_due, NOW) == 0
    other.execute("ROLLBACK")
    other.close()


def read_tables(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(select(entities).order_by(entities.c.key)).all())


# --- outcomes ----------------------------------------------------------------------------------


async def test_record_and_claim_returns_entities_that_its_outcomes_make_due(store: Store) -> None:
    world = World()
    await store.store_events([world.membership("created")], NOW)
    child = await claim_one(store)
    await record(store, [fail_by(child, REFERENCE)], NOW)
    await store.store_events([world.trip("created")], NOW)
    trip = await claim_one(store)
    batch = await store.write(outcome_queries.record_and_claim, NOW, [Applied(trip)], want())
    assert batch is not None
    assert [entity.ref for entity in batch.entities] == [child.ref]
    assert (
        await store.write(
            outcome_queries.record_and_claim, NOW, [Applied(batch.entities[0])], want()
        )
        is None
    )


@pytest.mark.parametrize("outcome", [Applied, fail, fail_alone], ids=["applied", "dead", "alone"])
async def test_outcome_counts_only_for_the_revision_that_was_claimed(
    store: Store, outcome: Callable[[PendingEntity], Outcome]
) -> None:
    world = World()
    newer = world.user("updated", at=2, name="cy")
    await store.store_events([world.user("created", at=1)], NOW)
    claimed = await claim_one(store)
    await store.store_events([newer], NOW)
    await record(store, [outcome(claimed)], NOW)
    entity = await claim_one(store)
    assert (entity.row, entity.attempts) == (newer.row, 0)
    found = await store.read(event_queries.find_event, newer.event_id)
    assert found is not None
    assert found.status is EventStatus.PENDING


async def test_outcome_recorded_twice_is_harmless(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created"), world.trip("created")], NOW)
    first, second = await claim(store, NOW, 2)
    outcomes: list[Outcome] = [Applied(first), fail(second, state=EntityState.PENDING)]
    for _ in range(2):
        await record(store, outcomes, NOW)
    backlog = await store.read(backlog_queries.measure_backlog, NOW)
    assert (backlog.pending, backlog.dead) == (1, 0)
    (again,) = await claim(store, after(NOW, 60), 10)
    assert (again.ref, again.attempts) == (second.ref, 1)


async def test_unique_conflicts_of_a_kind_are_gathered_when_another_comes(store: Store) -> None:
    """Two entities may have to swap their values, which needs both in one request."""
    first, second, busy = (World().user("created") for _ in range(3))
    await store.store_events([first, busy], NOW)
    waiting = {entity.ref: entity for entity in await claim(store, NOW, 10)}
    old = replace(waiting[ref_of(first)], attempts=5, last_error_code="23505", waiting_since=NOW)
    await record(store, [fail_by(old, CONFLICT), fail_by(waiting[ref_of(busy)], BUSY)], NOW)
    assert await claim(store, NOW, 10) == []
    await store.store_events([second], NOW)
    await record(store, [fail_by(await claim_one(store), CONFLICT)], NOW)
    batch = await store.read(dispatch_queries.claim, NOW, want())
    assert batch is not None
    assert batch.priority is Priority.RETRIED_WRITE
    assert {entity.ref for entity in batch.entities} == {ref_of(first), ref_of(second)}


# --- parents and children ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["trip", "user"])
async def test_missing_parent_that_was_applied_is_written_again_before_the_child_is_tried(
    store: Store, kind: str
) -> None:
    world = World()
    parent = getattr(world, kind)("created")
    await store.store_events([parent], NOW)
    await have_applied(store)
    await store.store_events([world.membership("created")], NOW)
    child = await claim_one(store)
    failed = replace(fail_by(child, REFERENCE), missing_parent=ref_of(parent))
    await record(store, [failed], NOW)
    assert await claim(store, NOW, 10) == []
    batches = await drain(store, failed.decision.due_at)
    assert [entity.ref for batch in batches for entity in batch.entities] == [
        ref_of(parent),
        child.ref,
    ]


async def test_missing_parent_that_is_desired_to_be_gone_is_not_written_again(
    store: Store,
) -> None:
    world = World()
    await store.store_events([world.trip("deleted", at=1)], NOW)
    await have_applied(store)
    await store.store_events([world.membership("created", at=2)], NOW)
    child = await claim_one(store)
    parent = ref_of(world.trip("deleted"))
    await record(store, [replace(fail_by(child, REFERENCE), missing_parent=parent)], NOW)
    assert [each.ref for each in await claim(store, after(NOW, 60), 10)] == [child.ref]


@pytest.mark.parametrize("kind", ["trip", "user"])
async def test_child_that_died_waiting_is_released_when_its_parent_is_applied(
    store: Store, kind: str
) -> None:
    world = World()
    await store.store_events([world.membership("created")], NOW)
    child = await claim_one(store)
    await record(store, [fail_by(child, REFERENCE)], NOW)
    late = after(NOW, REFERENCE_WAIT_LIMIT_SECONDS)
    await record(store, [fail_by(await claim_one(store, late), REFERENCE, now=late)], late)
    assert (await store.read(backlog_queries.measure_backlog, late)).dead == 1
    assert await claim(store, after(late, 3600), 10) == []
    await store.store_events([getattr(world, kind)("created")], late)
    batches = await drain(store, late)
    assert [entity.ref for entity in batches[-1].entities] == [child.ref]
    assert (await store.read(backlog_queries.measure_backlog, late)).dead == 0


async def test_child_that_does_not_wait_is_not_touched_when_its_parent_is_applied(
    store: Store, engine: Engine
) -> None:
    world = World()
    await store.store_events([world.membership("created")], NOW)
    await record(store, [fail_by(await claim_one(store), BUSY)], NOW)
    before = read_due(engine)[ref_of(world.membership("created"))]
    await store.store_events([world.trip("created"), world.user("created")], NOW)
    await have_applied(store)
    assert read_due(engine)[ref_of(world.membership("created"))] == before


# --- clocks ------------------------------------------------------------------------------------


async def test_event_received_by_a_clock_far_ahead_is_due_at_once(store: Store) -> None:
    world = World()
    events = [world.user("created", at=1), world.trip("created", at=1)]
    await store.store_events(events, after(NOW, 3600))
    await store.store_events([world.membership("deleted")], after(NOW, 3600))
    await store.store_events([world.user("updated", at=2, name="cy")], after(NOW, 3600))
    assert {each.ref for each in await claim(store, NOW, 10)} == {
        *map(ref_of, events),
        ref_of(world.membership("deleted")),
    }
    assert await store.read(dispatch_queries.find_next_due, NOW) == 0


async def test_replay_begun_by_a_clock_far_ahead_is_due_at_once(store: Store) -> None:
    event = World().user("created")
    await store.store_events([event], NOW)
    await have_applied(store)
    await replay(store, now=after(NOW, 3600))
    assert [each.ref for each in await claim(store, NOW, 10)] == [ref_of(event)]


async def test_cascade_received_by_a_clock_far_ahead_is_due_at_once(store: Store) -> None:
    world = World()
    await store.store_events([world.membership("created", at=1)], NOW)
    await record(store, [fail_by(await claim_one(store), BUSY)], NOW)
    await store.store_events([world.trip("deleted", at=2)], after(NOW, 3600))
    assert {each.ref for each in await claim(store, NOW, 10)} == {
        ref_of(world.membership("deleted")),
        ref_of(world.trip("deleted")),
    }


@pytest.mark.parametrize("ahead_seconds", [3600, 365 * 86400])
async def test_wait_that_a_clock_far_ahead_has_begun_is_found_and_ended(
    store: Store, ahead_seconds: int
) -> None:
    busy, alone, fair = (World().user("created") for _ in range(3))
    await store.store_events([busy, alone, fair], NOW)
    picked = {entity.ref: entity for entity in await claim(store, NOW, 10)}
    ahead = after(NOW, ahead_seconds)
    await record(
        store,
        [
            fail_by(picked[ref_of(busy)], BUSY, now=ahead),
            fail_alone(picked[ref_of(alone)], now=ahead),
            fail_by(picked[ref_of(fair)], BUSY),
        ],
        NOW,
    )
    assert await store.read(dispatch_queries.find_next_due, NOW) == NOW
    due = {each.ref for each in await claim(store, NOW, 10)}
    assert due == {ref_of(busy), ref_of(alone)}


async def test_longest_legitimate_waits_are_no_skew(store: Store) -> None:
    busy, alone = (World().user("created") for _ in range(2))
    await store.store_events([busy, alone], NOW)
    picked = {entity.ref: entity for entity in await claim(store, NOW, 10)}
    conflict = replace(picked[ref_of(busy)], attempts=8, last_error_code="23505", waiting_since=NOW)
    timeout = replace(
        picked[ref_of(alone)], attempts=99, last_error_code="57014", waiting_since=NOW
    )
    failed = [fail_by(conflict, CONFLICT), fail_alone(timeout)]
    assert [each.decision.due_at for each in failed] == [
        after(NOW, BACKOFF_LIMIT_SECONDS),
        after(NOW, ALONE_LIMIT_SECONDS),
    ]
    await record(store, failed, NOW)
    assert await store.read(dispatch_queries.find_next_due, NOW) == after(NOW, 60)
    assert await claim(store, NOW, 10) == []
    # A moment before, by a clock that is a moment behind, they would be.
    assert len(await claim(store, after(NOW, -1), 10)) == 2


async def test_schedule_of_a_store_with_nothing_pending_is_empty(store: Store) -> None:
    await store.store_events([World().user("created")], NOW)
    await have_applied(store)
    assert await store.read(dispatch_queries.find_next_due, NOW) is None


# --- plans -------------------------------------------------------------------------------------


def fill(engine: Engine) -> None:
    """Fill the store with pending entities, half of them fresh."""
    with engine.begin() as connection:
        connection.execute(text(FILL), {"many": MANY})
        if engine.dialect.name == "postgresql":
            # As the server itself does soon after.
            connection.execute(text("ANALYZE entities"))


def explain(connection: Connection, statement: str) -> str:
    """Return the plan of a statement."""
    words = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    values = {"priority": 1, "now": NOW, "limit": 500, "latest": NOW}
    rows = connection.execute(text(f"{words} {statement}"), values).all()
    return "\n".join(str(row[-1]) for row in rows)


HELD_CONDITIONS: Final = " AND NOT (kind = 'user' AND NOT (row IS NULL))"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "statement",
    [
        dispatch_queries.CLAIM.format(held=""),
        dispatch_queries.CLAIM.format(held=HELD_CONDITIONS),
        dispatch_queries.SELECT_SCHEDULE,
    ],
    ids=["claim", "claim with held", "schedule"],
)
async def test_statement_finds_what_is_due_by_the_index_and_sorts_nothing(
    engine: Engine, statement: str
) -> None:
    """However much is pending."""
    fill(engine)
    with engine.connect() as connection:
        plan = explain(connection, statement)
    assert "entities_pending" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
    assert "SCAN entities" not in plan
    assert "Seq Scan" not in plan


@pytest.mark.usefixtures("sqlite_store")
async def test_claim_and_schedule_look_at_no_more_than_they_give(store_path: Path) -> None:
    """Counted in the steps of SQLite's machine, of which a row takes a few dozen."""
    connection = sqlite3.connect(store_path)
    connection.execute(FILL, {"many": MANY})
    connection.commit()
    values = {"priority": 1, "now": NOW, "latest": NOW, "limit": 500}
    for statement, most in (
        (dispatch_queries.CLAIM.format(held=""), 50_000),
        (dispatch_queries.SELECT_SCHEDULE, 1_000),
    ):
        assert count_steps(connection, statement, values) < most
    connection.close()


def count_steps(connection: sqlite3.Connection, statement: str, values: Mapping[str, int]) -> int:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    connection.execute(statement, values).fetchall()
    connection.set_progress_handler(None, 0)
    return steps


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    "statement",
    [
        CASCADE_FROM_USER,
        outcome_queries.REQUEUE_CHILDREN_OF_USER,
        outcome_queries.REQUEUE_CHILDREN_OF_RECREATED_USER,
        outcome_queries.RELEASE_CHILDREN_OF_USER,
    ],
)
def test_sqlite_statement_finds_the_entities_of_a_user_by_index(
    store_path: Path, statement: str
) -> None:
    connection = sqlite3.connect(store_path)
    values = dict.fromkeys(("kind", "key", "occurred_at", "sequence", "received_at", "now"))
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    connection.close()
    assert plan[0][-1] == "SEARCH entities USING INDEX entities_of_user (user_id=?)"
