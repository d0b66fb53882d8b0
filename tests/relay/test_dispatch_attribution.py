"""Requests that fail as a whole while Supabase is available: one entity is the cause."""

from itertools import pairwise

import httpx
import pytest

from app.domain.entities import EntityState, EventStatus
from app.domain.events import Event
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.health import HealthStatus
from app.store import event_queries
from tests.fake_postgrest import FakePostgrest, is_write
from tests.histories import NOW, World, ref_of
from tests.relay.harness import Bench, count_rows, holds, run_bench
from tests.relay.ways_to_fail import HTML, TIMEOUT, WAYS_TO_FAIL

# Splitting does not depend on the database: one failure is enough on PostgreSQL.
every_way = pytest.mark.parametrize(
    ("store_url", "way"),
    [*(("sqlite", way) for way in WAYS_TO_FAIL), ("postgresql", "statement timeout")],
    indirect=["store_url"],
)


async def fail_while_it_holds(bench: Bench, event: Event, way: str = "HTML 403") -> None:
    WAYS_TO_FAIL[way](bench.postgrest, holds(event))


@every_way
async def test_request_failing_for_one_entity_is_split_until_the_others_are_applied(
    bench: Bench, way: str
) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES)]
    await bench.receive(*trips)
    bad = trips[123]
    await fail_while_it_holds(bench, bad, way)
    await bench.drain()
    assert (await bench.store.read(event_queries.measure_backlog, NOW)).pending == 1
    assert bench.dispatcher.status.failure is None
    view = await bench.view(bad)
    assert (view.state, view.attempts) == (EntityState.PENDING, 1)
    failed = [count_rows(write) for write in bench.postgrest.writes if holds(bad)(write)]
    assert failed[0] == REQUEST_ENTITIES
    assert failed[-1] == 1
    assert len(failed) == 3, "each costs a timeout"
    health = await bench.report_health()
    assert ref_of(bad).key in (health.supabase.reason or "")
    assert str(view.last_error_code) in (health.supabase.reason or "")


@every_way
async def test_entity_failing_alone_is_applied_once_its_request_succeeds(
    bench: Bench, way: str
) -> None:
    bad = World().trip("created")
    await bench.receive(bad)
    await fail_while_it_holds(bench, bad, way)
    for _ in range(20):
        await bench.drain()
        bench.advance(60)
    assert await bench.status_of(bad) is EventStatus.PENDING
    bench.postgrest.heal()
    bench.advance(900)
    await bench.drain()
    assert await bench.status_of(bad) is EventStatus.APPLIED
    assert (await bench.report_health()).status is HealthStatus.OK


async def test_entity_failing_alone_backs_off_to_15_minutes(
    sqlite_bench: Bench,
) -> None:
    bad = World().trip("created")
    await sqlite_bench.receive(bad)
    await fail_while_it_holds(sqlite_bench, bad)
    await sqlite_bench.drain()
    for wait in (1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900):
        attempts = len(sqlite_bench.postgrest.writes)
        sqlite_bench.advance(wait - 1)
        await sqlite_bench.drain()
        assert len(sqlite_bench.postgrest.writes) == attempts
        sqlite_bench.advance(1)
        await sqlite_bench.drain()
        assert len(sqlite_bench.postgrest.writes) == attempts + 1


async def test_entity_failing_alone_shares_no_request_with_others(
    bench: Bench,
) -> None:
    bad = World().trip("created")
    await bench.receive(bad)
    await fail_while_it_holds(bench, bad)
    await bench.drain()
    for _ in range(20):
        bench.advance(60)
        trips = [World().trip("created") for _ in range(10)]
        await bench.receive(*trips)
        await bench.drain()
        assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
    assert {count_rows(write) for write in bench.postgrest.writes if holds(bad)(write)} == {1}
    assert len(bench.postgrest.writes) < 60


async def test_entities_failing_alone_take_turns_with_due_ones(
    sqlite_bench: Bench,
) -> None:
    bad = [World().trip("created") for _ in range(3)]
    await sqlite_bench.receive(*bad, *(World().trip("created") for _ in range(100)))

    def is_bad(request: httpx.Request) -> bool:
        return any(holds(event)(request) for event in bad)

    sqlite_bench.postgrest.answer_with(403, HTML, of=is_bad)
    await sqlite_bench.drain()
    for _ in range(3):
        before = len(sqlite_bench.postgrest.writes)
        sqlite_bench.advance(1000)
        fresh = [World().trip("created") for _ in range(2 * REQUEST_ENTITIES)]
        for number in range(0, len(fresh), 200):
            await sqlite_bench.receive(*fresh[number : number + 200])
        await sqlite_bench.drain()
        assert set(await sqlite_bench.statuses_of(*fresh)) == {EventStatus.APPLIED}
        writes = sqlite_bench.postgrest.writes[before:]
        for event in bad:
            tried = [holds(event)(write) for write in writes]
            assert any(tried)
            assert not any(one and next_ for one, next_ in pairwise(tried))


async def test_revocation_whose_request_failed_skips_a_backlog_of_grants(
    bench: Bench,
) -> None:
    for _ in range(10):
        await bench.receive(*(World().user("created") for _ in range(REQUEST_ENTITIES)))
    revocation = World().membership("deleted")
    await bench.receive(revocation)
    await fail_while_it_holds(bench, revocation, "reset")
    gate = bench.postgrest.hang(of=lambda request: is_write(request) and b"@" in request.content)
    async with bench.running():
        await bench.postgrest.wait_for_hanging()
        # The revocation has failed alone; a grant is in flight.
        assert (await bench.view(revocation)).attempts == 1
        bench.postgrest.heal()
        bench.advance(1)
        next_gate = bench.postgrest.hang(
            of=lambda request: is_write(request) and b"@" in request.content
        )
        gate.set()
        await bench.postgrest.wait_for_hanging()
        assert await bench.status_of(revocation) is EventStatus.APPLIED
        next_gate.set()


@every_way
async def test_revocations_beside_a_failing_one_are_applied(bench: Bench, way: str) -> None:
    revocations = [World().membership("deleted") for _ in range(200)]
    await bench.receive(*revocations)
    await fail_while_it_holds(bench, revocations[150], way)
    await bench.drain()
    statuses = await bench.statuses_of(*revocations)
    assert statuses.count(EventStatus.APPLIED) == 199
    assert statuses[150] is EventStatus.PENDING
    # It is retried every minute, however often it fails: access may remain.
    bench.postgrest.heal()
    await fail_while_it_holds(bench, revocations[150], way)
    for _ in range(60):
        bench.advance(60)
        await bench.drain()
    bench.postgrest.heal()
    bench.advance(60)
    await bench.drain()
    assert await bench.status_of(revocations[150]) is EventStatus.APPLIED


async def test_deletes_are_sent_one_at_a_time_once_a_request_of_them_has_failed(
    bench: Bench,
) -> None:
    deletes = [World().trip("deleted") for _ in range(20)]
    await bench.receive(*deletes)
    await fail_while_it_holds(bench, deletes[7], "statement timeout")
    await bench.drain()
    assert [count_rows(write) for write in bench.postgrest.writes] == [20, *[1] * 20]
    statuses = await bench.statuses_of(*deletes)
    assert statuses.count(EventStatus.APPLIED) == 19


async def test_size_of_requests_grows_again_after_one_has_failed(sqlite_bench: Bench) -> None:
    trips = [World().trip("created") for _ in range(REQUEST_ENTITIES)]
    await sqlite_bench.receive(*trips)
    sqlite_bench.postgrest.answer_with(500, TIMEOUT, of=lambda r: count_rows(r) > 300)
    await sqlite_bench.drain()
    assert (await sqlite_bench.store.read(event_queries.measure_backlog, NOW)).pending == 0
    sqlite_bench.postgrest.heal()
    for _ in range(40):
        await sqlite_bench.receive(*(World().trip("created") for _ in range(REQUEST_ENTITIES)))
        await sqlite_bench.drain()
        if count_rows(sqlite_bench.postgrest.writes[-1]) == REQUEST_ENTITIES:
            break
    assert max(count_rows(write) for write in sqlite_bench.postgrest.writes[1:]) == REQUEST_ENTITIES
    assert count_rows(sqlite_bench.postgrest.writes[-1]) == REQUEST_ENTITIES


class SlowBulk(FakePostgrest):
    """Use up the time budget with any request of more than ten rows."""

    def _apply(self, argument: dict[str, object]) -> httpx.Response:
        operations = argument["operations"]
        assert isinstance(operations, list)
        rows = sum(len(operation["rows"]) for operation in operations)
        self.set_budget(0 if rows > 10 else None)
        return super()._apply(argument)


async def test_request_of_which_no_row_could_be_tried_is_split(store_url: str) -> None:
    async with run_bench(store_url, SlowBulk()) as bench:
        trips = [World().trip("created") for _ in range(100)]
        await bench.receive(*trips)
        for _ in range(60):
            if not await bench.dispatcher.dispatch_due():
                break
        assert set(await bench.statuses_of(*trips)) == {EventStatus.APPLIED}
