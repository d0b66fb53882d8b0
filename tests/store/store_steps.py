"""What a test does with a store in more than one step."""

import uuid
from collections.abc import Sequence

from app.domain.criteria import Criteria
from app.domain.entities import EntityState, EventStatus, PendingEntity, Priority
from app.domain.history import Replay, ReplayId, StoredEvent
from app.domain.instants import Instant, after
from app.domain.retry import RetryDecision
from app.store import dispatch_queries, outcome_queries, replay_queries
from app.store.dispatch_queries import Wanted
from app.store.outcome_queries import Applied, Failed, Outcome
from app.store.store import Store
from tests.histories import NOW


async def begin_replay(
    store: Store, criteria: Criteria, *, requested_by: str | None = "jane", now: Instant = NOW
) -> Replay:
    """Begin a replay and mark nothing yet."""
    replay_id = ReplayId(str(uuid.uuid4()))
    matches = await store.scan(replay_queries.count_matches, criteria)
    await store.write(
        replay_queries.begin_replay,
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
    while await advance_replay(store, begun.number, now, size):
        pass
    return await look_at(store, begun.replay_id)


async def advance_replay(
    store: Store, number: int, now: Instant, size: int, *, found: int = 1000
) -> bool:
    """Requeue the next entities of a replay, of as many as are found at once."""
    targets = await store.scan(replay_queries.find_targets, number, found)
    return await store.write(replay_queries.requeue_targets, number, targets[:size], now)


async def look_at(store: Store, replay_id: ReplayId) -> Replay:
    """Read a replay that is there."""
    found = await store.search(replay_queries.read_replay, replay_id)
    assert found is not None
    return found


async def claim(store: Store, now: Instant, limit: int) -> list[PendingEntity]:
    """Claim as the dispatcher does, from each queue in turn, and send nothing."""
    entities: list[PendingEntity] = []
    for priority in Priority:
        if limit > len(entities):
            wanted = Wanted((priority,), {priority: limit - len(entities)})
            batch = await store.read(dispatch_queries.claim, now, wanted)
            entities += () if batch is None else batch.entities
    return entities


async def record(
    store: Store, outcomes: Sequence[Outcome], now: Instant, *, closes_accounts: bool = False
) -> None:
    """Record what became of entities, and claim nothing."""
    await store.write(
        outcome_queries.record_and_claim, now, outcomes, None, closes_accounts=closes_accounts
    )


def fail(
    entity: PendingEntity,
    *,
    state: EntityState = EntityState.DEAD,
    awaits_parent: bool = False,
    code: str = "23514",
) -> Failed:
    """Return the outcome of an entity that Supabase rejected, or that awaits its parent."""
    decision = RetryDecision(
        state,
        entity.priority,
        entity.attempts + 1,
        after(NOW, 60),
        awaits_parent=awaits_parent,
        waiting_since=NOW,
        request_limit=None,
    )
    code = "23503" if awaits_parent else code
    return Failed(entity, code, "violates a constraint", decision)


async def have_applied(store: Store, *, now: Instant = NOW, closes_accounts: bool = False) -> None:
    """Record for all that is due that Supabase holds it."""
    picked = await claim(store, now, 100_000)
    outcomes = [Applied(entity) for entity in picked]
    await record(store, outcomes, now, closes_accounts=closes_accounts)


async def have_refused(store: Store, *, now: Instant = NOW, code: str = "23514") -> None:
    """Record for all that is due that Supabase refused it for good."""
    picked = await claim(store, now, 100_000)
    await record(store, [fail(entity, code=code) for entity in picked], now)


async def have_postponed(store: Store, *, now: Instant = NOW) -> None:
    """Record for all that is due that it failed and is tried again later."""
    picked = await claim(store, now, 100_000)
    failed = [fail(entity, state=EntityState.PENDING, code="57014") for entity in picked]
    await record(store, failed, now)


def meets(criteria: Criteria, event: StoredEvent) -> bool:
    """Tell whether an event meets the criteria other than ids, as an oracle."""
    return (
        (criteria.since is None or event.received_at >= criteria.since)
        and (criteria.until is None or event.received_at < criteria.until)
        and (criteria.types is None or event.type in criteria.types)
        and (criteria.entity is None or event.entity.ref == criteria.entity)
        and (criteria.status is None or event.status is criteria.status)
        and (not criteria.has_error or event.status in (EventStatus.PENDING, EventStatus.DEAD))
        and criteria.error_code in (None, event.entity.last_error_code)
        and criteria.error in (None, event.entity.last_error)
    )
