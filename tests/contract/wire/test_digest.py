"""`relay_digest` counts and digests the rows of a table exactly as the relay does."""

import json
from typing import Any
from uuid import UUID

import pytest

from tests.contract.wire.driver import UNKNOWN, UNKNOWN_TABLE, Wire, expect_buckets, upsert
from tests.contract.wire.tables import SCHEMA, Tables, make_ids, require_citext, require_collation


@pytest.mark.parametrize("key_type", ["uuid", "text", "varchar(36)", "char(36)"])
def test_digest_of_any_key_type_equals_that_of_the_relay(
    wire: Wire, tables: Tables, key_type: str
) -> None:
    table = tables.create(f"id {key_type} primary key, name text")
    rows = [(key, f"name {number}") for number, key in enumerate(make_ids(20))]
    written = [{"id": key, "name": name} for key, name in rows]
    assert wire.apply(upsert(table, *written)).failures == []

    for thresholds in ([], [rows[0][0]], [rows[5][0], rows[6][0], rows[19][0]]):
        answer = wire.digest(table, columns=["name"], thresholds=thresholds)
        assert answer.buckets == expect_buckets(rows, thresholds)


def test_digest_of_a_citext_key_equals_that_of_the_relay(wire: Wire, tables: Tables) -> None:
    citext = require_citext(tables)
    table = tables.create(f"id {citext} primary key, email {citext}")
    rows = [(key, f"Ada{number}@Example.com") for number, key in enumerate(make_ids(20))]
    # Capital letters are before small ones byte by byte, and not in citext.
    rows[3:4] = [("ABC", "Bob@example.com")]
    rows.sort()
    assert (
        wire.apply(upsert(table, *({"id": key, "email": email} for key, email in rows))).failures
        == []
    )
    thresholds = [rows[5][0], rows[10][0]]

    answer = wire.digest(table, columns=["email"], thresholds=thresholds, left_out=[[rows[0][0]]])

    assert answer.buckets == expect_buckets(rows[1:], thresholds)


@pytest.mark.parametrize("collation", ["default", "en-x-icu", "C"])
def test_text_keys_are_ordered_byte_by_byte_in_any_collation(
    wire: Wire, tables: Tables, collation: str
) -> None:
    require_collation(tables, collation)
    table = tables.create(f'id text collate "{collation}" primary key')
    # Other collations ignore hyphens at first, and sort "a" before "B".
    keys = sorted(["a-b", "a-c", "aa", "ab", "ac", "A", "B", "b", "é", "z", "~"])
    assert wire.apply(upsert(table, *({"id": key} for key in keys))).failures == []

    for threshold in keys:
        answer = wire.digest(table, thresholds=[threshold])
        assert answer.buckets == expect_buckets([(key,) for key in keys], [threshold])


def test_thresholds_at_the_edges_repeated_and_more_than_rows(wire: Wire, tables: Tables) -> None:
    table = tables.create("id uuid primary key")
    ids = [str(UUID(int=n)) for n in (10, 20, 30)]
    assert wire.apply(upsert(table, *({"id": key} for key in ids))).failures == []
    lists = [
        [str(UUID(int=0))],
        ids,
        [ids[1], ids[1], ids[1]],
        [str(UUID(int=n)) for n in range(1, 60)],
        [str(UUID(int=2**128 - 1))],
    ]

    for thresholds in lists:
        answer = wire.digest(table, thresholds=thresholds)
        assert answer.buckets == expect_buckets([(key,) for key in ids], thresholds)


def test_empty_table_has_empty_buckets(wire: Wire, tables: Tables) -> None:
    table = tables.create("id uuid primary key, name text")

    answer = wire.digest(table, columns=["name"], thresholds=make_ids(2))

    assert answer.buckets == [(0, 0)] * 3


def test_tables_of_one_request_are_read_in_one_snapshot(wire: Wire, tables: Tables) -> None:
    slow, other = tables.create("id int primary key"), tables.create("id int primary key")
    tables.run(f"""
        insert into {slow} values (1);
        insert into {other} values (1);
        create function {SCHEMA}.wait_text() returns text language plpgsql as $$
          begin perform pg_sleep(1.5); return 'x'; end $$;
        create view {SCHEMA}.slow as select id, {SCHEMA}.wait_text() as waited from {slow};
        grant select on {SCHEMA}.slow to service_role;
    """)
    request = {
        "tables": [
            {"table": f"{SCHEMA}.slow", "key": ["id"], "columns": ["waited"]},
            {"table": other, "key": ["id"], "columns": []},
        ]
    }
    begun = "select count(*) > 0 from pg_stat_activity where wait_event = 'PgSleep'"
    with tables.changed_meanwhile(f"delete from {other}", when=begun):
        answer = wire.send("relay_digest", json.dumps(request))

    assert tables.read(other) == []
    assert [table["buckets"][0][0] for table in answer.body["tables"]] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "sqlstate"),
    [
        ({"table": f"{SCHEMA}.nothing"}, "42P01"),
        ({"table": "no_schema.nothing"}, "42P01"),
        ({"key": ["nothing"]}, "42703"),
        ({"key": ["id", "nothing"]}, "42703"),
        ({"columns": ["nothing"]}, "42703"),
        ({"thresholds": ["not a number"]}, "22P02"),
        ({"constants": {"id": "not a number"}}, "22P02"),
    ],
)
def test_request_that_does_not_fit_the_table_fails_with_its_sqlstate(
    wire: Wire, tables: Tables, fields: dict[str, Any], sqlstate: str
) -> None:
    table = tables.create("id int primary key")
    given = {"table": table, "key": ["id"], "columns": [], **fields}

    answer = wire.send("relay_digest", json.dumps({"tables": [given]}))

    assert answer.code in (sqlstate, UNKNOWN, UNKNOWN_TABLE)


def test_names_and_values_that_look_like_sql_stay_what_they_are(wire: Wire, tables: Tables) -> None:
    injection = "x') from pg_class; drop schema relay_conformance cascade; --"
    table = tables.create(
        '"Weird Id" text primary key, "a""b" text, "select" text',
        name='digest quo"ted; table',
    )
    row = {"Weird Id": injection, 'a"b': injection, "select": "'"}
    assert wire.apply(upsert(table, row, key=("Weird Id",))).failures == []

    answer = wire.digest(
        table,
        key=("Weird Id",),
        columns=['a"b', "select"],
        thresholds=[injection],
        constants={'a"b': injection},
    )

    assert answer.buckets == expect_buckets([(injection, injection, "'")], [injection])
    assert answer.constants == {'a"b': injection}
    for fields in ({"key": [injection]}, {"columns": [injection]}):
        given = {"table": table, "key": ["Weird Id"], "columns": [], **fields}
        refused = wire.send("relay_digest", json.dumps({"tables": [given]}))
        assert refused.code in ("42703", UNKNOWN)
    assert wire.digest(table, key=("Weird Id",)).buckets == expect_buckets([(injection,)])


def test_position_is_that_of_the_latest_request(any_wire: Wire) -> None:
    for _ in range(2):
        assert any_wire.apply(sequence=7).code is None
        empty = any_wire.send("relay_digest", '{"tables": []}')
        assert empty.body == {"epoch": any_wire.epoch, "sequence": 7, "tables": []}
        any_wire.claim()
        page = any_wire.read("public.users", limit=1)
        assert (page.body["epoch"], page.body["sequence"]) == (any_wire.epoch, 0)
