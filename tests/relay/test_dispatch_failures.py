"""Rows that fail by themselves: their outcomes, without delaying other rows."""

import json
import logging

import pytest

from app.domain.entities import EventStatus, Kind
from app.domain.retry import MAXIMUM_ATTEMPTS
from app.supabase.mapping import read_target
from app.supabase.targets import Targets
from tests.fake_postgrest import COLUMNS, FakePostgrest
from tests.histories import World, make_event, ref_of
from tests.relay.harness import Harness, count_rows, holds, picks, run_harness

DAY_SECONDS = 24 * 3600
BUSY = ("55P03", "40001", "40P01", "08006", "53300", "57P01", "58030")
DEAD_AT_ONCE = ("23514", "22P02", "P0001", "38000", "54000", "XX000", "42883")
STRUCTURAL = ("42501", "42P01", "42703", "42P10", "0A000")


# Outcomes do not depend on the database: one code of each kind is enough on PostgreSQL.
@pytest.mark.parametrize(
    ("store_url", "code"),
    [
        *(("sqlite", code) for code in (*BUSY, *DEAD_AT_ONCE, *STRUCTURAL, "23505")),
        *(("postgresql", code) for code in (BUSY[0], DEAD_AT_ONCE[0], STRUCTURAL[0], "23505")),
    ],
    indirect=["store_url"],
)
@pytest.mark.parametrize("kind", ["write", "revocation", "delete"])
async def test_row_failing_with_any_code_delays_no_other(
    harness: Harness, kind: str, code: str
) -> None:
    makers = {
        "write": lambda world: world.user("created"),
        "revocation": lambda world: world.membership("deleted"),
        "delete": lambda world: world.trip("deleted"),
    }
    events = [makers[kind](World()) for _ in range(60)]
    await harness.receive(*events)
    bad = events[37]
    harness.postgrest.fail_row(picks(bad), code)
    await harness.dispatcher.dispatch_due()
    assert await harness.statuses_of(*events[:37], *events[38:]) == [EventStatus.APPLIED] * 59
    status = EventStatus.DEAD if code in DEAD_AT_ONCE else EventStatus.PENDING
    assert await harness.status_of(bad) is status
    # Later events share no request with the failed row.
    later = makers[kind](World())
    harness.advance(61)
    await harness.receive(later)
    await harness.dispatcher.dispatch_due()
    assert await harness.status_of(later) is EventStatus.APPLIED
    assert not any(
        holds(bad)(request) for request in harness.postgrest.writes if holds(later)(request)
    )


@pytest.mark.parametrize("code", BUSY)
async def test_row_busy_is_retried_within_seconds_and_never_dies(
    harness: Harness, code: str
) -> None:
    event = World().membership("deleted")
    await harness.receive(event)
    heal = harness.postgrest.fail_row(picks(event), code)
    for _ in range(40):
        await harness.drain()
        harness.advance(5)
    assert len(harness.postgrest.writes) == 40
    health = await harness.report_health()
    assert ref_of(event).key in (health.supabase.reason or ""), "it is named after a minute"
    heal()
    await harness.drain()
    assert await harness.status_of(event) is EventStatus.APPLIED


@pytest.mark.parametrize("code", STRUCTURAL)
async def test_row_with_a_structural_failure_beside_a_good_one_is_dead_after_ten_attempts(
    harness: Harness, code: str
) -> None:
    world, other = World(), World()
    event = world.user("created", name="ann")
    await harness.receive(event, other.user("created", name="ben"))
    harness.postgrest.fail_row(picks(event), code)
    for _ in range(MAXIMUM_ATTEMPTS - 1):
        await harness.drain()
        harness.advance(60)
    assert await harness.status_of(event) is EventStatus.PENDING
    await harness.drain()
    assert await harness.status_of(event) is EventStatus.DEAD
    assert sum(map(holds(event), harness.postgrest.writes)) == MAXIMUM_ATTEMPTS


async def test_row_that_is_rejected_is_named_without_its_values(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    event = World().user("created", name="secret")
    await harness.receive(event)
    message = 'new row for relation "users" violates check constraint "no_37"'
    harness.postgrest.fail_row(picks(event), "23514", message)
    with caplog.at_level(logging.INFO):
        await harness.drain()
    view = await harness.view(event)
    assert (view.last_error_code, view.last_error) == ("23514", message)
    assert ref_of(event).key in caplog.text
    assert "secret" not in caplog.text


async def test_row_that_was_dead_is_applied_by_its_next_event(harness: Harness) -> None:
    world = World()
    dead = world.user("created")
    await harness.receive(dead)
    heal = harness.postgrest.fail_row(picks(dead), "23514")
    await harness.drain()
    heal()
    newer = world.user("updated", at=1, name="cy")
    await harness.receive(newer)
    await harness.drain()
    assert await harness.status_of(newer) is EventStatus.APPLIED
    assert harness.held()[ref_of(newer)]["username"] == "cy"


async def test_row_that_failed_is_not_retried_before_its_time(harness: Harness) -> None:
    event = World().user("created")
    await harness.receive(event)
    harness.postgrest.fail_row(picks(event), "55P03")
    waits: list[int] = []
    for _ in range(4):
        await harness.drain()
        attempts = len(harness.postgrest.writes)
        for tenths in range(1, 100):
            harness.advance(0.1)
            await harness.drain()
            if len(harness.postgrest.writes) > attempts:
                waits.append(tenths)
                break
    assert waits == [5, 10, 20, 40], "tenths of a second"


# --- references ------------------------------------------------------------------------------


async def test_member_before_its_trip_waits_and_is_applied_with_it(harness: Harness) -> None:
    world = World()
    membership = world.membership("created")
    await harness.receive(world.user("created"), membership)
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.PENDING
    await harness.receive(world.trip("created"))
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.APPLIED


async def test_member_whose_trip_never_comes_is_dead_after_a_day_and_revived_by_the_trip(
    harness: Harness,
) -> None:
    world = World()
    membership = world.membership("created")
    await harness.receive(world.user("created"), membership)
    await harness.drain()
    harness.advance(DAY_SECONDS - 1)
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.PENDING
    harness.advance(61)
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.DEAD
    harness.advance(DAY_SECONDS)
    await harness.receive(world.trip("created"))
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.APPLIED
    assert ref_of(membership) in harness.held()


async def test_member_whose_trip_was_deleted_in_supabase_has_both_written(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    harness.postgrest.tables["trips"].clear()
    membership = world.membership("created")
    await harness.receive(membership)
    await harness.drain()
    before = len(harness.postgrest.writes)
    harness.advance(60)
    await harness.drain()
    assert await harness.status_of(membership) is EventStatus.APPLIED
    assert len(harness.postgrest.writes) - before <= 3


async def test_member_whose_parents_never_help_backs_off(harness: Harness) -> None:
    world = World()
    membership = world.membership("created")
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    names = {"schema": "public", "table": "trip_memberships", "column": "trip_id"}
    harness.postgrest.fail_row(picks(membership), "23503", **names)
    await harness.receive(membership)
    for _ in range(60):
        await harness.drain()
        harness.advance(1)
    attempts = sum(map(holds(membership), harness.postgrest.writes))
    assert 5 <= attempts <= 20, "in a minute, with its parent between them"


async def test_thousand_members_that_wait_for_one_trip_are_all_applied_after_it(
    harness: Harness,
) -> None:
    trip = World()
    worlds = [World(trips=trip.trips) for _ in range(1000)]
    for number in range(0, 1000, 250):
        some = worlds[number : number + 250]
        await harness.receive(*(world.user("created") for world in some))
        await harness.receive(*(world.membership("created") for world in some))
    await harness.drain()
    before = len(harness.postgrest.writes)
    await harness.receive(trip.trip("created"))
    await harness.drain()
    assert len(harness.postgrest.rows("trip_memberships")) == 1000
    assert len(harness.postgrest.writes) - before == 3


async def test_delete_of_a_trip_that_another_table_refers_to_waits_a_day_and_names_it(
    harness: Harness,
) -> None:
    world = World()
    await harness.receive(world.user("created"), world.trip("created"))
    await harness.drain()
    deleted = world.trip("deleted", at=1)
    await harness.receive(deleted)
    message = (
        'update or delete on table "trips" violates foreign key constraint "bills_trip_id_fkey"'
        ' on table "bills"'
    )
    heal = harness.postgrest.fail_row(picks(deleted), "23503", message)
    await harness.drain()
    assert "bills" in ((await harness.view(deleted)).last_error or "")
    harness.advance(DAY_SECONDS - 1)
    await harness.drain()
    assert await harness.status_of(deleted) is EventStatus.PENDING
    heal()
    harness.advance(61)
    await harness.drain()
    assert await harness.status_of(deleted) is EventStatus.APPLIED
    assert ref_of(deleted) not in harness.held()


async def test_delete_of_a_trip_that_stays_referenced_is_dead_after_a_day(harness: Harness) -> None:
    deleted = World().trip("deleted")
    await harness.receive(deleted)
    harness.postgrest.fail_row(picks(deleted), "23503")
    await harness.drain()
    harness.advance(DAY_SECONDS + 61)
    await harness.drain()
    assert await harness.status_of(deleted) is EventStatus.DEAD


# --- rows that lack a column -----------------------------------------------------------------


async def test_rows_without_a_column_update_existing_rows_and_are_dead_otherwise(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COLUMNS, "trips", (*COLUMNS["trips"], "start_date"))
    targets = Targets(trips=read_target(Kind.TRIP, '{"extra": ["start_date"]}'))
    worlds = [World() for _ in range(20)]
    postgrest = FakePostgrest()
    for world in worlds[1:]:
        row = {"id": world.trips[0], "name": "?", "created_by": "?", "start_date": "2026-01-01"}
        postgrest.tables["trips"][world.trips[0],] = dict(row)
    async with run_harness(store_url, postgrest, targets) as harness:
        events = [world.trip("updated") for world in worlds]
        await harness.receive(*events)
        await harness.drain()
        assert postgrest.operations == [("update", "trips", 20)]
        assert await harness.statuses_of(*events) == [EventStatus.DEAD, *[EventStatus.APPLIED] * 19]
        assert ((await harness.view(events[0])).last_error or "").endswith(
            "the event lacks start_date for a new one"
        )
        assert harness.held()[ref_of(events[1])]["start_date"] == "2026-01-01"
        assert harness.held()[ref_of(events[1])]["name"] == "Lisbon"


async def test_rows_failed_and_not_tried_keep_their_positions(
    harness: Harness,
) -> None:
    users = sorted(
        (make_event("user.created", user) for user in _users(50)), key=lambda event: event.key
    )
    await harness.receive(*users)
    harness.postgrest.fail_row(picks(users[10]), "23514")
    harness.postgrest.set_budget(20)
    await harness.dispatcher.dispatch_due()
    assert await harness.status_of(users[10]) is EventStatus.DEAD
    assert [count_rows(request) for request in harness.postgrest.writes] == [50, 30, 10]
    assert set(await harness.statuses_of(*users[:10], *users[11:])) == {EventStatus.APPLIED}
    assert harness.postgrest.rows("users") == [
        json.loads(user.row or "") for user in users if user is not users[10]
    ]


def _users(count: int) -> list[dict[str, str]]:
    return [
        {"id": World().users[0], "email": f"{n}@example.com", "username": f"{n}"}
        for n in range(count)
    ]
