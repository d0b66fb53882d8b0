"""What a test does with a store in more than one step."""

import uuid
from collections.abc import Sequence

from app.domain.criteria import Criteria
from app.domain.entities import EntityState, PendingEntity
from app.domain.failures import Failure, FailureKind
from app.domain.history import Matches, Replay, ReplayId
from app.domain.instants import Instant, after
from app.domain.retry import Verdict
from app.store.dispatching import Applied, Batch, Ended, Outcome, Refused, Wanted
from app.store.store import Store
from tests.histories import NOW


async def begin_replay(
    store: Store, criteria: Criteria, *, requested_by: str | None = "jane", now: Instant = NOW
) -> Replay:
    """Begin a replay and mark nothing yet."""
    replay_id = ReplayId(str(uuid.uuid4()))
    matches = Matches(0, 0)
    if criteria.event_ids is None:
        matches = await store.count_matches(criteria)
    await store.begin_replay(
        replay_id=replay_id,
        criteria=criteria,
        matches=matches,
        requested_by=requested_by,
        now=now,
    )
    return await look_at(store, replay_id)


async def replay(
    store: Store, criteria: Criteria | None = None, *, now: Instant = NOW, size: int = 1000
) -> Replay:
    """Mark all that meets the criteria; None is everything."""
    begun = await begin_replay(store, Criteria() if criteria is None else criteria, now=now)
    while await store.advance_replay(begun.number, now, size):
        pass
    return await look_at(store, begun.replay_id)


async def look_at(store: Store, replay_id: ReplayId) -> Replay:
    """Read a replay that is there."""
    found = await store.read_replay(replay_id)
    assert found is not None
    return found


async def pick_pending(store: Store, now: Instant, limit: int) -> list[PendingEntity]:
    """Pick as the dispatcher does, and send nothing."""
    batch = await store.turn(now, wanted=Wanted(limit, now))
    if batch is None:
        return []
    await store.turn(now, ended=[Ended(batch)])
    return list(batch.entities)


async def record_outcomes(store: Store, outcomes: Sequence[Outcome], now: Instant) -> None:
    """Record what came of entities whose note is taken back."""
    await store.turn(now, ended=[Ended(Batch((), 0, flight=0, until=now), outcomes)])


def refuse(
    entity: PendingEntity, *, state: EntityState = EntityState.DEAD, awaits_parent: bool = False
) -> Refused:
    """Say of an entity that Supabase refused it."""
    failure = Failure(FailureKind.REFUSED, "23514", "violates check constraint")
    since = NOW if awaits_parent else None
    verdict = Verdict(state, entity.attempts + 1, after(NOW, 60), awaits_parent, since)
    return Refused(entity, failure, verdict)


async def have_applied(store: Store, *, now: Instant = NOW) -> None:
    """Record for all that is due that Supabase holds it."""
    picked = await pick_pending(store, now, 100_000)
    await record_outcomes(store, [Applied(entity) for entity in picked], now)


async def have_refused(store: Store, *, now: Instant = NOW) -> None:
    """Record for all that is due that Supabase refused it for good."""
    picked = await pick_pending(store, now, 100_000)
    await record_outcomes(store, [refuse(entity) for entity in picked], now)
