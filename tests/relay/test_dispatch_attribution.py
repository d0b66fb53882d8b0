"""Requests that fail as a whole while Supabase is available: one entity is the cause."""

from itertools import pairwise

import httpx
import pytest

from app.domain.entities import EntityState, EventStatus
from app.domain.events import Event
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.health import HealthStatus
from app.store import backlog_queries
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World, ref_of
from tests.relay.harness import Harness, count_rows, holds, run_harness
from tests.relay.ways_to_fail import HTML, TIMEOUT, WAYS_TO_FAIL

# Splitting does not depend on the database: one failure is enough on PostgreSQL.
every_way = pytest.mark.parametrize(
    ("store_url", "way"),
    [*(("sqlite", way) for way in WAYS_TO_FAIL), ("postgresql", "statement timeout")],
    indirect=["store_url"],
)


async def fail_while_it_holds(harness: Harness, event: Event, way: str = "HTML 403") -> None:
    WAYS_TO_FAIL[way](harness.postgrest, holds(event))


@every_way
async def test_request_failing_for_one_entity_is_split_until_the_others_are_applied(
    harness: Harness, way: str
) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES)]
    await harness.receive(*trips)
    bad = trips[123]
    await fail_while_it_holds(harness, bad, way)
    await harness.drain()
    assert (await harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 1
    assert harness.dispatcher.status.failure is None
    view = await harness.view(bad)
    assert (view.state, view.attempts) == (EntityState.PENDING, 1)
    failed = [count_rows(write) for write in harness.postgrest.writes if holds(bad)(write)]
    assert failed[0] == REQUEST_ENTITIES
    assert failed[-1] == 1
    assert len(failed) == 3, "each costs a timeout"
    health = await harness.report_health()
    assert ref_of(bad).key in (health.supabase.reason or "")
    assert str(view.last_error_code) in (health.supabase.reason or "")


@every_way
async def test_entity_failing_alone_is_applied_once_its_request_succeeds(
    harness: Harness, way: str
) -> None:
    bad = World().trip("created")
    await harness.receive(bad)
    await fail_while_it_holds(harness, bad, way)
    for _ in range(20):
        await harness.drain()
        harness.advance(60)
    assert await harness.status_of(bad) is EventStatus.PENDING
    harness.postgrest.heal()
    harness.advance(900)
    await harness.drain()
    assert await harness.status_of(bad) is EventStatus.APPLIED
    assert (await harness.report_health()).status is HealthStatus.OK


async def test_entity_failing_alone_backs_off_to_15_minutes(
    sqlite_harness: Harness,
) -> None:
    bad = World().trip("created")
    await sqlite_harness.receive(bad)
    await fail_while_it_holds(sqlite_harness, bad)
    await sqlite_harness.drain()
    for wait in (1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900):
        attempts = len(sqlite_harness.postgrest.writes)
        sqlite_harness.advance(wait - 1)
        await sqlite_harness.drain()
        assert len(sqlite_harness.postgrest.writes) == attempts
        sqlite_harness.advance(1)
        await sqlite_harness.drain()
        assert len(sqlite_harness.postgrest.writes) == attempts + 1


async def test_entity_failing_alone_shares_no_request_with_others(
    harness: Harness,
) -> None:
    bad = World().trip("created")
    await harness.receive(bad)
    await fail_while_it_holds(harness, bad)
    await harness.drain()
    for _ in range(20):
        harness.advance(60)
        trips = [World().trip("created") for _ in range(10)]
        await harness.receive(*trips)
        await harness.drain()
        assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert {count_rows(write) for write in harness.postgrest.writes if holds(bad)(write)} == {1}
    assert len(harness.postgrest.writes) < 60


async def test_entities_failing_alone_take_turns_with_due_ones(
    sqlite_harness: Harness,
) -> None:
    bad = [World().trip("created") for _ in range(3)]
    await sqlite_harness.receive(*bad, *(World().trip("created") for _ in range(100)))

    def is_bad(request: httpx.Request) -> bool:
        return any(holds(event)(request) for event in bad)

    sqlite_harness.postgrest.respond_with(403, HTML, of=is_bad)
    await sqlite_harness.drain()
    for _ in range(3):
        before = len(sqlite_harness.postgrest.writes)
        sqlite_harness.advance(1000)
        fresh = [World().trip("created") for _ in range(2 * REQUEST_ENTITIES)]
        for number in range(0, len(fresh), 200):
            await sqlite_harness.receive(*fresh[number : number + 200])
        await sqlite_harness.drain()
        assert set(await sqlite_harness.statuses_of(*fresh)) == {EventStatus.APPLIED}
        writes = sqlite_harness.postgrest.writes[before:]
        for event in bad:
            tried = [holds(event)(write) for write in writes]
            assert any(tried)
            assert not any(one and next_ for one, next_ in pairwise(tried))


async def test_revocation_whose_request_failed_skips_a_backlog_of_grants(
    harness: Harness,
) -> None:
    for _ in range(10):
        await harness.receive(*(World().user("created") for _ in range(REQUEST_ENTITIES)))
    revocation = World().membership("deleted")
    await harness.receive(revocation)
    await fail_while_it_holds(harness, revocation, "reset")
    gate = harness.postgrest.hang(of=lambda request: is_write(request) and b"@" in request.content)
    async with harness.running():
        await harness.postgrest.wait_for_hanging()
        # The revocation has failed alone; a grant is in flight.
        assert (await harness.view(revocation)).attempts == 1
        harness.postgrest.heal()
        harness.advance(1)
        next_gate = harness.postgrest.hang(
            of=lambda request: is_write(request) and b"@" in request.content
        )
        gate.set()
        await harness.postgrest.wait_for_hanging()
        assert await harness.status_of(revocation) is EventStatus.APPLIED
        next_gate.set()


@every_way
async def test_revocations_beside_a_failing_one_are_applied(harness: Harness, way: str) -> None:
    revocations = [World().membership("deleted") for _ in range(200)]
    await harness.receive(*revocations)
    await fail_while_it_holds(harness, revocations[150], way)
    await harness.drain()
    statuses = await harness.statuses_of(*revocations)
    assert statuses.count(EventStatus.APPLIED) == 199
    assert statuses[150] is EventStatus.PENDING
    # It is retried every minute, however often it fails: access may remain.
    harness.postgrest.heal()
    await fail_while_it_holds(harness, revocations[150], way)
    for _ in range(60):
        harness.advance(60)
        await harness.drain()
    harness.postgrest.heal()
    harness.advance(60)
    await harness.drain()
    assert await harness.status_of(revocations[150]) is EventStatus.APPLIED


async def test_deletes_are_sent_one_at_a_time_once_a_request_of_them_has_failed(
    harness: Harness,
) -> None:
    deletes = [World().trip("deleted") for _ in range(20)]
    await harness.receive(*deletes)
    await fail_while_it_holds(harness, deletes[7], "statement timeout")
    await harness.drain()
    assert [count_rows(write) for write in harness.postgrest.writes] == [20, *[1] * 20]
    statuses = await harness.statuses_of(*deletes)
    assert statuses.count(EventStatus.APPLIED) == 19


async def test_size_of_requests_grows_again_after_one_has_failed(sqlite_harness: Harness) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES)]
    await sqlite_harness.receive(*trips)
    sqlite_harness.postgrest.respond_with(500, TIMEOUT, of=lambda r: count_rows(r) > 300)
    await sqlite_harness.drain()
    assert (await sqlite_harness.store.read(backlog_queries.measure_backlog, NOW)).pending == 0
    sqlite_harness.postgrest.heal()
    for _ in range(40):
        await sqlite_harness.receive(*(World().trip("created") for _ in range(REQUEST_ENTITIES)))
        await sqlite_harness.drain()
        if count_rows(sqlite_harness.postgrest.writes[-1]) == REQUEST_ENTITIES:
            break
    assert (
        max(count_rows(write) for write in sqlite_harness.postgrest.writes[1:]) == REQUEST_ENTITIES
    )
    assert count_rows(sqlite_harness.postgrest.writes[-1]) == REQUEST_ENTITIES


class SlowBulk(FakePostgrest):
    """Use up the time budget with any request of more than ten rows."""

    def _apply(self, argument: dict[str, object]) -> httpx.Response:
        operations = argument["operations"]
        assert isinstance(operations, list)
        rows = sum(len(operation["rows"]) for operation in operations)
        self.set_budget(0 if rows > 10 else None)
        return super()._apply(argument)


async def test_request_of_which_no_row_could_be_tried_is_split(store_url: str) -> None:
    async with run_harness(store_url, SlowBulk()) as harness:
        trips = [World().trip("created") for _ in range(100)]
        await harness.receive(*trips)
        for _ in range(60):
            if not await harness.dispatcher.dispatch_due():
                break
        assert set(await harness.statuses_of(*trips)) == {EventStatus.APPLIED}
