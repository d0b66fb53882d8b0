"""`relay_digest` leaves out the keys that a request excepts, however many."""

import time
from uuid import uuid4

import pytest

from tests.contract.wire.driver import Wire, expect_buckets, upsert
from tests.contract.wire.tables import SCHEMA, Tables, make_ids, require_collation


def test_composite_key_counts_each_key_and_is_cut_by_its_first_column(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create("user_id uuid, trip_id uuid, role text, primary key (trip_id, user_id)")
    trips, key = make_ids(3), ("trip_id", "user_id")
    rows = [(trip, user, "MEMBER") for trip in trips for user in make_ids(4)]
    written = [{"trip_id": trip, "user_id": user, "role": role} for trip, user, role in rows]
    assert wire.apply(upsert(table, *written, key=key)).failures == []
    left_out = [list(rows[0][:2]), list(rows[7][:2]), [trips[0], str(uuid4())]]

    whole = wire.digest(table, key=key, columns=["role"], thresholds=trips[1:])
    part = wire.digest(table, key=key, columns=["role"], thresholds=trips[1:], left_out=left_out)

    assert whole.buckets == expect_buckets(rows, trips[1:])
    assert part.buckets == expect_buckets(
        [row for row in rows if list(row[:2]) not in left_out], trips[1:]
    )


def test_key_columns_of_different_collations_can_be_left_out(wire: Wire, tables: Tables) -> None:
    require_collation(tables, "en-x-icu")
    table = tables.create(
        'a text collate "en-x-icu", b text collate "de-x-icu", primary key (a, b)'
    )
    key = ("a", "b")
    assert (
        wire.apply(upsert(table, {"a": "x", "b": "y"}, {"a": "x", "b": "z"}, key=key)).failures
        == []
    )

    answer = wire.digest(table, key=key, left_out=[["x", "y"]])

    assert answer.buckets == expect_buckets([("x", "z")])


def test_key_is_left_out_byte_by_byte_and_not_by_the_columns_collation(
    wire: Wire, tables: Tables
) -> None:
    require_collation(tables, "en-x-icu")
    tables.run(f"""
        create collation {SCHEMA}.no_case
          (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
    """)
    table = tables.create(f"id text collate {SCHEMA}.no_case primary key")
    assert wire.apply(upsert(table, {"id": "ABC"}, {"id": "abd"})).failures == []

    answer = wire.digest(table, left_out=[["abc"], ["abd"]])

    assert answer.buckets == expect_buckets([("ABC",)])


def test_row_without_a_key_is_not_counted(wire: Wire, tables: Tables) -> None:
    # It belongs to no user or trip. `relay_read` does not show it either.
    table = tables.create("trip_id uuid, user_id uuid, unique (trip_id, user_id)")
    trip, user = make_ids(2)
    tables.run(
        f"insert into {table} values ('{trip}', '{user}'), ('{trip}', null), (null, '{user}')"
    )

    answer = wire.digest(table, key=("trip_id", "user_id"))

    assert answer.buckets == expect_buckets([(trip, user)])


@pytest.mark.parametrize("key_type", ["uuid", "text", "domain"])
def test_many_rows_thresholds_and_exceptions_take_a_fraction_of_the_timeout(
    wire: Wire, tables: Tables, key_type: str
) -> None:
    if key_type == "domain":
        key_type = f"{SCHEMA}.key_of_many"
        tables.run(f"create domain {key_type} as uuid")
    table = tables.create(f"trip_id {key_type}, user_id {key_type}, role text")
    tables.run(f"""
        insert into {table} select md5((n / 10)::text)::uuid, md5(n::text)::uuid, 'MEMBER'
        from generate_series(1, 100000) as n
    """)
    rows = tables.run(f"select trip_id::text, user_id::text, role from {table} order by 1, 2")
    thresholds = [row[0] for row in rows[::100]]
    left_out = [list(row[:2]) for row in rows[::10]]
    wire.digest(table, key=("trip_id", "user_id"), columns=["role"])  # warms up

    started_at = time.monotonic()
    answer = wire.digest(
        table,
        key=("trip_id", "user_id"),
        columns=["role"],
        thresholds=thresholds,
        left_out=left_out,
    )
    seconds = time.monotonic() - started_at

    assert answer.buckets == expect_buckets(
        [row for number, row in enumerate(rows) if number % 10], thresholds
    )
    assert len(left_out) == 10_000
    assert seconds < 3
