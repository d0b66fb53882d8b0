"""`relay_read` pages through the rows of a table as texts, in the order that the relay shares."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from app.supabase.comparison import shorten_texts
from tests.contract.wire.driver import UNKNOWN, UNKNOWN_TABLE, Wire, upsert
from tests.contract.wire.tables import SCHEMA, Tables, make_ids, require_citext, require_collation

MEMBERSHIP = ("trip_id", "user_id")


def read_pages(
    wire: Wire, table: str, key: Sequence[str], *, limit: int, **fields: Any
) -> Iterator[list[list[str | None]]]:
    """Read pages until one is empty, as the key of the last row says."""
    after: list[str | None] | None = None
    while page := wire.read(table, key=key, limit=limit, after=after, **fields).rows:
        yield page
        after = page[-1][: len(key)]


@pytest.mark.parametrize("key_type", ["uuid", "text", "varchar(36)", "char(36)", "domain"])
def test_pages_follow_the_key_until_the_end(wire: Wire, tables: Tables, key_type: str) -> None:
    if key_type == "domain":
        key_type = f"{SCHEMA}.key_of_pages"
        tables.run(f"create domain {key_type} as uuid")
    table = tables.create(f"id {key_type} primary key, name text")
    rows = [[key, f"name {number}"] for number, key in enumerate(make_ids(10))]
    assert wire.apply(upsert(table, *({"id": k, "name": n} for k, n in rows))).failures == []

    for limit in (1, 3, 5, 10, 11):
        pages = list(read_pages(wire, table, ("id",), columns=["name"], limit=limit))
        assert [row for page in pages for row in page] == rows
        assert {len(page) for page in pages[:-1]} <= {limit}


def test_trip_with_more_members_than_a_page_is_read_completely(wire: Wire, tables: Tables) -> None:
    table = tables.create("trip_id uuid, user_id uuid, primary key (trip_id, user_id)")
    trips = make_ids(3)
    rows = [[trip, user] for trip in trips for user in make_ids(25)]
    tables.run(
        f"insert into {table} values" + ", ".join(f"('{trip}', '{user}')" for trip, user in rows)
    )

    pages = list(read_pages(wire, table, MEMBERSHIP, limit=10))
    middle = list(read_pages(wire, table, MEMBERSHIP, limit=10, start=trips[1], end=trips[2]))

    assert [row for page in pages for row in page] == rows
    assert [row for page in middle for row in page] == rows[25:50]


def test_range_begins_with_its_first_value_and_ends_before_its_last(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create("id uuid primary key")
    ids = [str(UUID(int=number)) for number in (10, 20, 30)]
    assert wire.apply(upsert(table, *({"id": key} for key in ids))).failures == []
    ranges = [
        ((None, None), ids),
        ((ids[1], None), ids[1:]),
        ((None, ids[1]), ids[:1]),
        ((ids[0], ids[2]), ids[:2]),
        ((ids[1], ids[1]), []),
        ((str(UUID(int=31)), None), []),
    ]

    for (start, end), expected in ranges:
        answer = wire.read(table, start=start, end=end)
        assert answer.rows == [[key] for key in expected]
    after = wire.read(table, start=ids[0], end=ids[2], after=[ids[0]])
    assert after.rows == [[ids[1]]]


def test_null_and_texts_are_told_apart(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, a text, b boolean, c jsonb")
    rows = [["1", None, None, None], ["2", "", "true", '{"a": 1}'], ["3", r"\N", "false", "null"]]
    tables.run(f"""insert into {table} values
        (1, null, null, null), (2, '', true, '{{"a":1}}'), (3, '\\N', false, 'null')""")

    assert wire.read(table, columns=["a", "b", "c"]).rows == rows


def test_long_text_is_given_as_its_beginning_and_its_digest(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text")
    texts = ["é" * 100, "\U0001f1ea" * 101, "a" * 5_000_000]
    rows = [{"id": number, "name": text} for number, text in enumerate(texts)]
    assert wire.apply(upsert(table, *rows)).failures == []

    found = wire.read(table, columns=["name"]).rows

    assert found == [list(shorten_texts((str(n), text))) for n, text in enumerate(texts)]
    assert [len(name or "") for _, name in found] == [100, 132, 132]
    assert found[1][1] != found[2][1]


@pytest.mark.parametrize("collation", ["default", "en-x-icu", "C"])
def test_text_keys_are_paged_byte_by_byte_in_any_collation(
    wire: Wire, tables: Tables, collation: str
) -> None:
    require_collation(tables, collation)
    table = tables.create(f'id text collate "{collation}" primary key')
    keys = sorted(
        ["a-b", "a-c", "aa", "ab", "A", "B", "b", "é", "~", "not a UUID", "", "\U0001f1ea"]
    )
    assert wire.apply(upsert(table, *({"id": key} for key in keys))).failures == []

    pages = list(read_pages(wire, table, ("id",), limit=2))
    part = wire.read(table, start="aa", end="é").rows

    assert [row for page in pages for row in page] == [[key] for key in keys]
    assert part == [[key] for key in keys if "aa" <= key < "é"]


def test_citext_keys_are_paged_byte_by_byte(wire: Wire, tables: Tables) -> None:
    citext = require_citext(tables)
    table = tables.create(f"id {citext} primary key")
    keys = sorted(["1a", "A", "B", "a1", "b2", "c", "D"])
    assert wire.apply(upsert(table, *({"id": key} for key in keys))).failures == []

    pages = list(read_pages(wire, table, ("id",), limit=2))

    assert [row for page in pages for row in page] == [[key] for key in keys]


def test_row_without_a_key_is_left_out(wire: Wire, tables: Tables) -> None:
    table = tables.create("trip_id uuid, user_id uuid, unique (trip_id, user_id)")
    trip, user = make_ids(2)
    tables.run(
        f"insert into {table} values ('{trip}', '{user}'), ('{trip}', null), (null, '{user}')"
    )

    assert wire.read(table, key=MEMBERSHIP).rows == [[trip, user]]


@pytest.mark.parametrize(
    ("fields", "sqlstate"),
    [
        ({"table": f"{SCHEMA}.nothing"}, "42P01"),
        ({"key": ["nothing"]}, "42703"),
        ({"columns": ["nothing"]}, "42703"),
        ({"columns": ["id) from pg_class; drop schema relay_conformance cascade; --"]}, "42703"),
        ({"from": "not a UUID"}, "22P02"),
        ({"after": ["not a UUID"]}, "22P02"),
    ],
)
def test_request_that_does_not_fit_the_table_fails_with_its_sqlstate(
    wire: Wire, tables: Tables, fields: dict[str, Any], sqlstate: str
) -> None:
    table = tables.create("id uuid primary key")
    request = {"table": table, "key": ["id"], "columns": [], "limit": 1, **fields}

    answer = wire.send("relay_read", json.dumps(request))

    assert answer.code in (sqlstate, UNKNOWN, UNKNOWN_TABLE)
    assert wire.read(table).rows == []


def test_weird_names_and_keys_are_read_as_they_are(wire: Wire, tables: Tables) -> None:
    table = tables.create('"Weird Id" text primary key, "a""b" text', name='read quo"ted; table')
    keys = sorted(["'; drop table x; --", '"', "%s %1$s", "$1"])
    rows = [{"Weird Id": key, 'a"b': key} for key in keys]
    assert wire.apply(upsert(table, *rows, key=("Weird Id",))).failures == []

    pages = list(read_pages(wire, table, ("Weird Id",), columns=['a"b'], limit=1))
    part = wire.read(table, key=("Weird Id",), start=keys[1], end=keys[3]).rows

    assert pages == [[[key, key]] for key in keys]
    assert part == [[key] for key in keys[1:3]]


@pytest.mark.parametrize("function", ["relay_digest", "relay_read"])
def test_locked_table_fails_soon(wire: Wire, tables: Tables, function: str) -> None:
    # The dispatcher waits for the response.
    table = tables.create("id uuid primary key")
    call = wire.digest if function == "relay_digest" else wire.read

    with tables.held(f"lock table {table}"):
        answer = call(table)

    assert answer.code in ("55P03", UNKNOWN)
    assert call(table).code is None


def test_page_far_into_a_large_table_holds_the_next_rows(wire: Wire, tables: Tables) -> None:
    table = tables.create("trip_id uuid, user_id uuid, primary key (trip_id, user_id)")
    tables.run(f"""
        insert into {table} select md5((n / 10)::text)::uuid, md5(n::text)::uuid
        from generate_series(1, 20000) as n;
        analyze {table}
    """)
    (trip, user), *rest = tables.run(
        f"select trip_id::text, user_id::text from {table} order by 1, 2 offset 15000 limit 1001"
    )

    answer = wire.read(table, key=MEMBERSHIP, after=[trip, user], start=str(UUID(int=0)))

    assert answer.rows == [list(row) for row in rest]
    assert wire.read(table, key=MEMBERSHIP, after=[trip, user], end=trip).rows == []
