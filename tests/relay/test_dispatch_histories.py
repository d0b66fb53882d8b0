"""Any history of events, with any trouble in between, ends in the state of the oracle."""

import json
import random
from collections.abc import Callable
from enum import StrEnum

import httpx
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import EntityKey, EntityRef, EntityState, Kind, split_membership_key
from app.domain.events import Event
from app.store import event_queries
from tests.examples import with_shared_fixtures
from tests.fake_postgrest import FakePostgrest, is_write, read_operations
from tests.histories import World, find_desired_rows, histories
from tests.relay.harness import Harness


class Step(StrEnum):
    """What happens after some events were received."""

    WAIT = "nothing is dispatched"
    DISPATCH = "one round is dispatched"
    OUTAGE = "Supabase is unreachable"
    LOSE = "requests are applied, but their answers are lost"
    REFUSE_DELETES = "requests with deletes fail"
    ROWS_BUSY = "the rows of one table are locked"
    TABLE_HELD = "one table is not as configured"
    DENY_WRITES = "INSERT is revoked"
    SLOW = "there is time for a few rows of a request"
    RIVAL = "another relay claims the fence"
    RESTART = "the dispatcher starts anew"
    LATE = "every request so far arrives again"


def is_with_delete(request: httpx.Request) -> bool:
    return any(each["operation"] == "delete" for each in read_operations(request))


# Troubles that last until healed; each receives a table.
TROUBLES: dict[Step, Callable[[FakePostgrest, str], object]] = {
    Step.OUTAGE: lambda fake, _: fake.break_connection(),
    Step.LOSE: lambda fake, _: fake.lose_responses(of=is_write),
    Step.REFUSE_DELETES: lambda fake, _: fake.respond_with(500, of=is_with_delete),
    Step.ROWS_BUSY: lambda fake, table: fake.fail_row(lambda _, name, __: name == table, "55P03"),
    Step.TABLE_HELD: lambda fake, table: fake.fail_row(lambda _, name, __: name == table, "42703"),
    Step.DENY_WRITES: lambda fake, table: fake.fail_row(
        lambda verb, name, _: verb != "delete" and name == table, "42501"
    ),
    Step.SLOW: lambda fake, _: fake.set_budget(2),
}


async def perform(harness: Harness, step: Step, table: str, seed: int) -> None:
    """Cause a trouble, dispatch, and heal it."""
    fake = harness.postgrest
    match step:
        case Step.WAIT:
            return
        case Step.RIVAL:
            await _claim_elsewhere(fake)
        case Step.RESTART:
            harness.dispatcher = harness.start_dispatcher()
        case Step.LATE:
            late = fake.requests[-20:]
            random.Random(seed).shuffle(late)  # noqa: S311 - an order, and no secret
            for request in late:
                await fake.respond(request)
        case Step.DISPATCH:
            pass
        case _:
            TROUBLES[step](fake, table)
    await harness.dispatcher.dispatch_due()
    fake.heal()
    harness.advance(1)


async def _claim_elsewhere(fake: FakePostgrest) -> None:
    request = json.dumps({"request": json.dumps({"protocol": 1})})
    url = "http://supabase.test/rest/v1/rpc/relay_claim"
    await fake.respond(httpx.Request("POST", url, content=request))


steps = st.lists(
    st.tuples(
        st.integers(1, 8),
        st.sampled_from(Step),
        st.sampled_from(("users", "trips", "trip_memberships")),
        st.integers(0, 3),
    ),
    max_size=8,
)


@with_shared_fixtures
@given(history=histories(), plan=steps)
async def test_dispatch_of_any_history_with_any_trouble_ends_in_the_oracles_state(
    harness: Harness, history: tuple[World, list[Event]], plan: list[tuple[int, Step, str, int]]
) -> None:
    _, events = history
    rest = list(events)
    for count, step, table, seed in plan:
        some, rest = rest[:count], rest[count:]
        if some:
            await harness.receive(*some)
        await perform(harness, step, table, seed)
    if rest:
        await harness.receive(*rest)
    await harness.settle(rounds=6)
    harness.postgrest.requests.clear()
    desired = find_desired_rows(events)
    held = harness.held()
    for ref, row in desired.items():
        expected = None if row is None or is_orphan(ref, desired) else json.loads(row)
        assert held.get(ref) == expected, ref
    found = await harness.store.read(
        event_queries.find_events, [event.event_id for event in events]
    )
    for stored in found.values():
        row = desired[stored.entity.ref]
        is_waiting = row is not None and is_orphan(stored.entity.ref, desired)
        state = EntityState.PENDING if is_waiting else EntityState.APPLIED
        assert stored.entity.state is state


def is_orphan(ref: EntityRef, desired: dict[EntityRef, str | None]) -> bool:
    """Tell whether foreign keys reject a membership, so that it waits."""
    if ref.kind is not Kind.MEMBERSHIP:
        return False
    trip_id, user_id = split_membership_key(ref.key)
    return (
        desired.get(EntityRef(Kind.TRIP, EntityKey(trip_id))) is None
        or desired.get(EntityRef(Kind.USER, EntityKey(user_id))) is None
    )
