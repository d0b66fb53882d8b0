"""Which Auth accounts are to be closed, and in which order."""

import pytest

from app.domain.drift import Difference, DifferenceKind, Effect, Origin, Repair
from app.domain.entities import EntityKey, EntityRef, Kind
from app.domain.instants import Instant, after
from app.store import closure_queries, repair_queries
from app.store.closure_queries import Closure, ClosureBacklog
from app.store.outcome_queries import Applied
from app.store.store import Store
from tests.histories import NOW, World
from tests.store.store_steps import claim, have_applied, have_refused, record, replay


async def find_due(store: Store, now: Instant = NOW) -> Closure | None:
    return await store.read(closure_queries.find_due_closure, now)


async def measure(store: Store, now: Instant = NOW) -> ClosureBacklog:
    return await store.read(closure_queries.measure_closures, now)


async def postpone(store: Store, due: Closure, due_at: Instant) -> None:
    await store.write(closure_queries.postpone_closure, due, due_at, "HTTP 500", "it failed")


async def remove(store: Store, world: World, user: int = 0, *, now: Instant = NOW) -> None:
    """Remove a user, also in Supabase."""
    await store.store_events([world.user("deleted", user, at=1)], NOW)
    await have_applied(store, now=now, closes_accounts=True)


async def test_account_is_due_when_supabase_holds_the_removal_and_not_before(store: Store) -> None:
    world = World()
    await store.store_events([world.user("created"), world.user("deleted", at=1)], NOW)
    assert await find_due(store) is None
    await have_refused(store)
    assert await find_due(store) is None
    await replay(store)
    await have_applied(store, closes_accounts=True)
    due = await find_due(store)
    assert due == Closure(world.users[0], NOW, 0, is_desired=False)
    assert await store.write(closure_queries.finish_closure, due) is False
    assert await find_due(store) is None


async def test_no_account_is_closed_unless_asked_for(store: Store) -> None:
    await store.store_events([World().user("deleted", at=1)], NOW)
    await have_applied(store)
    assert await measure(store) == ClosureBacklog()


async def test_written_users_and_other_removals_close_no_account(store: Store) -> None:
    world = World()
    await store.store_events(
        [
            world.user("created"),
            world.trip("created"),
            world.membership("created"),
            world.membership("deleted", at=1),
            world.trip("deleted", at=1),
        ],
        NOW,
    )
    await have_applied(store, closes_accounts=True)
    assert await measure(store) == ClosureBacklog()


async def test_row_that_a_repair_removes_closes_no_account(store: Store) -> None:
    """A row that no event was about may be anybody's."""
    stranger = World().users[0]
    found = Difference(
        EntityRef(Kind.USER, EntityKey(stranger)),
        DifferenceKind.EXTRA,
        Effect.OTHER,
        Origin.UNKNOWN_TO_US,
        columns=(),
        repair=Repair.DELETE,
    )
    assert await store.write(repair_queries.queue_repairs, [found], NOW) == 1
    await have_applied(store, closes_accounts=True)
    assert await measure(store) == ClosureBacklog()


async def test_user_that_was_created_again_before_the_outcome_keeps_the_account(
    store: Store,
) -> None:
    world = World()
    await store.store_events([world.user("deleted", at=1)], NOW)
    claimed = await claim(store, NOW, 10)
    await store.store_events([world.user("created", at=2)], NOW)
    await record(store, [Applied(each) for each in claimed], NOW, closes_accounts=True)
    assert await measure(store) == ClosureBacklog()


async def test_user_that_is_created_again_is_shown_as_desired(store: Store) -> None:
    world = World()
    await remove(store, world)
    await store.store_events([world.user("created", at=2)], NOW)
    due = await find_due(store)
    assert due is not None
    assert due.is_desired


async def test_replay_of_the_removal_closes_the_account_again(store: Store) -> None:
    world = World()
    await remove(store, world)
    due = await find_due(store)
    assert due is not None
    await replay(store)
    later = after(NOW, 5)
    await have_applied(store, now=later, closes_accounts=True)
    # The first request is done, the second one is not.
    await store.write(closure_queries.finish_closure, due)
    assert await find_due(store, later) == Closure(world.users[0], later, 0, is_desired=False)


async def test_failed_account_is_due_later_and_after_the_others(store: Store) -> None:
    world = World()
    await remove(store, world)
    due = await find_due(store)
    assert due is not None
    await postpone(store, due, after(NOW, 10))
    assert await find_due(store) is None
    await remove(store, world, 1)
    second = await find_due(store, after(NOW, 10))
    assert second is not None
    assert second.user_id == world.users[1]
    assert await store.write(closure_queries.finish_closure, second) is True
    assert await find_due(store, after(NOW, 10)) == Closure(due.user_id, NOW, 1, is_desired=False)


async def test_account_postponed_by_a_clock_that_ran_ahead_is_due(store: Store) -> None:
    await remove(store, World())
    due = await find_due(store)
    assert due is not None
    await postpone(store, due, after(NOW, 86_400))
    assert await find_due(store) is not None


@pytest.mark.parametrize(("seconds", "overdue"), [(59, 0), (60, 1), (-61, 1)])
async def test_account_is_overdue_a_minute_after_it_was_to_be_closed(
    store: Store, seconds: float, overdue: int
) -> None:
    world = World()
    await remove(store, world)
    await remove(store, world, 1)
    due = await find_due(store)
    assert due is not None
    await postpone(store, due, NOW)
    error = "HTTP 500, it failed" if overdue else None
    assert await measure(store, after(NOW, seconds)) == ClosureBacklog(2, overdue, error)
