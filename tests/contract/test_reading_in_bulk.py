"""Reading a page looks up the caller's trips once, however long the page is."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.contract.database import Database
from tests.contract.sql_world import create_trip

TRIPS = 200
MESSAGES_OF_THE_TRIP = 4000
MESSAGES_OF_ANOTHER_TRIP = 20
READS = {
    "chat_messages": "select * from public.chat_messages where trip_id = $1",
    "chat_reactions": "select * from public.chat_reactions where trip_id = $1",
    "chat_read_receipts": "select * from public.chat_read_receipts where trip_id = $1",
    "user_presence": "select * from public.user_presence where trip_id = $1",
    "trip_memberships": "select * from public.trip_memberships where trip_id = $1",
}
PAGE = f"{READS['chat_messages']} order by created_at desc limit 50"


@pytest.fixture
def full_trip(database: Database) -> tuple[UUID, UUID]:
    """Fill many trips of 30 members; return the busiest one, and a member of every other."""
    user_id = uuid4()
    members = [uuid4() for _ in range(29)]
    create_trip(database, user_id, *members)
    trip_id = create_trip(database, user_id, *members)
    database.run(
        "insert into public.trips select gen_random_uuid(), 'Rome', $1"
        " from generate_series(1, $2::int)",
        user_id,
        TRIPS,
    )
    database.run(
        "insert into public.trip_memberships"
        " select trip.id, account.id, 'MEMBER', 'ACTIVE' from public.users as account"
        " cross join (select id, row_number() over () as number from public.trips) as trip"
        " where account.id <> $1 or trip.number % 2 = 0 on conflict do nothing",
        user_id,
    )
    database.run(
        "insert into public.chat_messages (trip_id, user_id, body, created_at)"
        " select trip.id, trip.created_by, 'hello', now() - n * interval '1 minute'"
        " from public.trips as trip cross join generate_series(1, $1::int) as n"
        " where n <= $2::int or trip.id = $3",
        MESSAGES_OF_THE_TRIP,
        MESSAGES_OF_ANOTHER_TRIP,
        trip_id,
    )
    database.run_script("""
        insert into public.chat_reactions (message_id, trip_id, user_id, emoji)
          select id, trip_id, user_id, '👍' from public.chat_messages;
        insert into public.chat_read_receipts (trip_id, user_id)
          select trip_id, user_id from public.trip_memberships;
        insert into public.user_presence (trip_id, user_id)
          select trip_id, user_id from public.trip_memberships;
        analyze;
    """)
    return trip_id, user_id


def count_calls(database: Database, user_id: UUID, sql: str, trip_id: UUID) -> dict[str, int]:
    """Run a query as the user and count its calls of each of the policies' functions."""
    with database.undone():
        # This transaction's figures; they count from where they stood.
        database.run_script("set local track_functions = 'all'")
        before = read_calls(database)
        with database.as_caller("authenticated", user_id):
            rows = database.run(sql, trip_id)
            after = read_calls(database)
    assert len(rows) >= 30
    return {name: after[name] - before.get(name, 0) for name in after}


def read_calls(database: Database) -> dict[str, int]:
    figures = database.run("select funcname, calls from pg_catalog.pg_stat_xact_user_functions")
    return {row["funcname"]: int(row["calls"]) for row in figures}


@pytest.mark.parametrize("table", READS)
def test_page_of_a_table_looks_up_the_trips_of_the_caller_once(
    database: Database, full_trip: tuple[UUID, UUID], table: str
) -> None:
    trip_id, user_id = full_trip

    calls = count_calls(database, user_id, READS[table], trip_id)

    assert calls["active_trip_ids"] == 1
    assert "is_trip_member" not in calls


def test_count_of_calls_sees_a_policy_that_asks_for_each_row(
    database: Database, full_trip: tuple[UUID, UUID]
) -> None:
    # The obvious policy would fail the tests above.
    trip_id, user_id = full_trip
    database.run_script(
        'alter policy "members read" on public.chat_messages using (is_trip_member(trip_id))'
    )

    calls = count_calls(database, user_id, PAGE, trip_id)

    assert calls["is_trip_member"] >= 50


def explain(database: Database, user_id: UUID, sql: str, *parameters: object) -> dict[str, Any]:
    with database.as_caller("authenticated", user_id):
        (row,) = database.run(f"explain (analyze, format json) {sql}", *parameters)
    (plan,) = (
        row["QUERY PLAN"] if isinstance(row["QUERY PLAN"], list) else json.loads(row["QUERY PLAN"])
    )
    found: dict[str, Any] = plan["Plan"]
    return found


def list_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from list_nodes(child)


def test_page_of_messages_is_read_from_the_index_in_order_behind_one_initial_plan(
    database: Database, full_trip: tuple[UUID, UUID]
) -> None:
    trip_id, user_id = full_trip

    nodes = list(list_nodes(explain(database, user_id, PAGE, trip_id)))

    scans = [node for node in nodes if node.get("Relation Name") == "chat_messages"]
    assert [node["Node Type"] for node in scans] == ["Index Scan"]
    assert scans[0]["Index Name"] == "chat_messages_trip_id_created_at_idx"
    # 50 rows are read for 50 rows: no sort, no rows discarded.
    assert scans[0]["Actual Rows"] == 50
    assert scans[0].get("Rows Removed by Filter", 0) == 0
    assert "Sort" not in {node["Node Type"] for node in nodes}
    initial = [node for node in nodes if node.get("Parent Relationship") == "InitPlan"]
    assert initial
    assert {node["Actual Loops"] for node in initial} == {1}


def test_user_who_is_no_member_reads_all_messages_without_touching_a_row(
    database: Database, full_trip: tuple[UUID, UUID]
) -> None:
    # Without a filter of the app's: the policy itself is what the index is searched with.
    assert full_trip
    nodes = list(list_nodes(explain(database, uuid4(), "select * from public.chat_messages")))

    scans = [node for node in nodes if node.get("Relation Name") == "chat_messages"]
    assert scans
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Bitmap Heap Scan"}
    assert sum(node["Actual Rows"] for node in scans) == 0
    assert sum(node.get("Rows Removed by Filter", 0) for node in scans) == 0
