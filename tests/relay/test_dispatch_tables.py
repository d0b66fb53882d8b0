"""Misconfigured tables, as opposed to rows that fail by themselves."""

import pytest

from app.domain.entities import EntityState, EventStatus
from app.relay.claim_policy import REQUEST_ENTITIES
from app.relay.health import HealthStatus
from tests.fake_postgrest import Row
from tests.histories import World
from tests.relay.harness import Harness, holds, picks

STRUCTURAL = ("42P01", "42703", "42P10", "42501")
DENIED = "permission denied for table trip_memberships"


def is_membership(_: str, table: str, __: Row) -> bool:
    return table == "trip_memberships"


def is_membership_write(operation: str, table: str, _: Row) -> bool:
    return table == "trip_memberships" and operation != "delete"


def is_membership_delete(operation: str, table: str, _: Row) -> bool:
    return table == "trip_memberships" and operation == "delete"


@pytest.mark.parametrize("code", STRUCTURAL)
async def test_table_with_only_failing_rows_is_held_reported_and_heals_without_a_restart(
    harness: Harness, code: str
) -> None:
    worlds = [World() for _ in range(20)]
    members = [world.membership("created") for world in worlds]
    heal = harness.postgrest.fail_row(is_membership, code, DENIED)
    for world, member in zip(worlds, members, strict=True):
        await harness.receive(world.user("created"), world.trip("created"), member)
    for _ in range(30):
        await harness.drain()
        harness.advance(61)
    # The other tables are written.
    assert len(harness.postgrest.rows("users")) == len(harness.postgrest.rows("trips")) == 20
    views = [await harness.view(member) for member in members]
    assert {(view.state, view.attempts) for view in views} == {(EntityState.PENDING, 0)}
    health = await harness.report_health()
    assert health.supabase.status is HealthStatus.DEGRADED
    for named in ("public.trip_memberships", code, DENIED):
        assert named in (health.supabase.reason or "")
    heal()
    harness.advance(61)
    await harness.drain()
    assert set(await harness.statuses_of(*members)) == {EventStatus.APPLIED}
    assert (await harness.report_health()).status is HealthStatus.OK


async def test_held_table_is_tried_by_one_row_at_a_time_with_backoff(
    harness: Harness,
) -> None:
    members = [World().membership("deleted") for _ in range(10)]
    await harness.receive(*members)
    harness.postgrest.fail_row(is_membership, "42501", DENIED)
    for _ in range(600):
        await harness.drain()
        harness.advance(1)
    trials = harness.postgrest.writes[1:]
    assert 10 <= len(trials) <= 20, "in ten minutes"
    tried = [next(member for member in members if holds(member)(write)) for write in trials]
    assert len({member.key for member in tried[:10]}) == 10


async def test_fresh_rows_of_a_held_table_are_tried_once(harness: Harness) -> None:
    harness.postgrest.fail_row(is_membership, "42501", DENIED)
    await harness.receive(*(World().membership("deleted") for _ in range(5)))
    await harness.drain()
    before = len(harness.postgrest.writes)
    await harness.receive(*(World().membership("deleted") for _ in range(REQUEST_ENTITIES)))
    await harness.receive(trip := World().trip("created"))
    await harness.drain()
    await harness.drain()
    assert await harness.status_of(trip) is EventStatus.APPLIED
    assert len(harness.postgrest.writes) == before + 2


async def test_structural_failures_delay_no_fresh_revocation(harness: Harness) -> None:
    bad = [World().membership("deleted") for _ in range(2)]
    await harness.receive(*bad)
    harness.postgrest.fail_row(picks(*bad), "42501")
    for _ in range(10):
        await harness.drain()
        harness.advance(61)
    assert harness.dispatcher.status.held
    revocation = World().membership("deleted")
    await harness.drain()
    await harness.receive(revocation)
    await harness.drain()
    assert await harness.status_of(revocation) is EventStatus.APPLIED
    assert harness.dispatcher.status.held == ()


async def test_revocations_continue_while_insert_is_not_granted(harness: Harness) -> None:
    worlds = [World() for _ in range(10)]
    for world in worlds:
        await harness.receive(
            world.user("created"), world.trip("created"), world.membership("created")
        )
    await harness.drain()
    heal = harness.postgrest.fail_row(is_membership_write, "42501", DENIED)
    roles = [world.membership("updated", at=1, role="ADMIN") for world in worlds]
    await harness.receive(*roles)
    await harness.drain()
    (table,) = harness.dispatcher.status.held
    assert table.startswith("writes of public.trip_memberships wait")
    revocations = [world.membership("deleted", at=2) for world in worlds[:5]]
    await harness.receive(*revocations)
    await harness.drain()
    assert set(await harness.statuses_of(*revocations)) == {EventStatus.APPLIED}
    assert len(harness.postgrest.rows("trip_memberships")) == 5
    assert set(await harness.statuses_of(*roles[5:])) == {EventStatus.PENDING}
    heal()
    harness.advance(61)
    await harness.drain()
    assert set(await harness.statuses_of(*roles[5:])) == {EventStatus.APPLIED}


async def test_grants_continue_while_delete_is_not_granted(harness: Harness) -> None:
    worlds = [World() for _ in range(5)]
    for world in worlds:
        await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    harness.postgrest.fail_row(is_membership_delete, "42501", DENIED)
    await harness.receive(*(World().membership("deleted") for _ in range(5)))
    await harness.drain()
    members = [world.membership("created") for world in worlds]
    await harness.receive(*members)
    await harness.drain()
    assert set(await harness.statuses_of(*members)) == {EventStatus.APPLIED}
    (table,) = harness.dispatcher.status.held
    assert table.startswith("deletes of ")


@pytest.mark.parametrize("code", STRUCTURAL)
async def test_row_with_a_structural_trigger_counts_attempts_once_another_succeeds(
    harness: Harness, code: str
) -> None:
    bad = [World().user("created", name=f"bad{n}") for n in range(3)]
    await harness.receive(*bad)
    harness.postgrest.fail_row(picks(*bad), code)
    for _ in range(20):
        await harness.drain()
        harness.advance(61)
    assert {(await harness.view(event)).attempts for event in bad} == {0}
    good = World().user("created", name="good")
    await harness.receive(good)
    harness.advance(61)
    await harness.drain()
    assert await harness.status_of(good) is EventStatus.APPLIED
    assert harness.dispatcher.status.held == ()
    for _ in range(10):
        harness.advance(61)
        await harness.drain()
    assert set(await harness.statuses_of(*bad)) == {EventStatus.DEAD}
    later = World().user("created", name="later")
    await harness.receive(later)
    await harness.drain()
    assert await harness.status_of(later) is EventStatus.APPLIED


async def test_table_without_failing_rows_left_is_released(harness: Harness) -> None:
    worlds = [World() for _ in range(5)]
    harness.postgrest.fail_row(is_membership_write, "42501", DENIED)
    for world in worlds:
        await harness.receive(
            world.user("created"), world.trip("created"), world.membership("created")
        )
    await harness.drain()
    assert harness.dispatcher.status.held
    await harness.receive(*(world.membership("deleted", at=1) for world in worlds))
    for _ in range(3):
        await harness.drain()
        harness.advance(61)
    assert harness.dispatcher.status.held == ()
    assert (await harness.report_health()).status is HealthStatus.OK
