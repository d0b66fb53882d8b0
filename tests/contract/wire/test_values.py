"""Values of every type arrive as they are, or fail alone and are not quoted."""

import json
from typing import Any

import pytest

from tests.contract.wire.driver import (
    SECRET,
    UNKNOWN,
    Row,
    Wire,
    delete,
    failure,
    upsert,
    without_messages,
)
from tests.contract.wire.tables import SCHEMA, Tables

GOOD = [
    ("bigint", 2**63 - 1, "9223372036854775807"),
    ("bigint", -(2**63), "-9223372036854775808"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("numeric", 12345678901234567890, "12345678901234567890"),
    ("numeric(6, 2)", 1234.565, "1234.57"),
    ("double precision", 0.1, "0.1"),
    ("boolean", True, "true"),
    ("text", True, "true"),
    ("text", 12, "12"),
    ("text", '12"', '12"'),
    ("text", {"a": "b"}, '{"a": "b"}'),
    ("varchar(3)", "abc", "abc"),
    ("char(3)", "a", "a"),
    ("character", "a", "a"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("timestamptz", "2026-01-02T03:04:05.678901Z", "2026-01-02 03:04:05.678901+00"),
    ("date", "2026-01-02", "2026-01-02"),
    ("jsonb", {"a": [1, None, {"b": "c"}]}, '{"a": [1, null, {"b": "c"}]}'),
    ("jsonb", "text", '"text"'),
    ("jsonb", "O'Brien \"\\", '"O\'Brien \\"\\\\"'),
    ("jsonb", True, "true"),
    ("json", [1, 2], "[1, 2]"),
    ("text[]", ["a", "b,c", None, '"'], '{a,"b,c",NULL,"\\""}'),
    ("int[]", [1, 2], "{1,2}"),
    ("inet", "10.0.0.1", "10.0.0.1/32"),
    (f"{SCHEMA}.mood", "fine", "fine"),
    (f"{SCHEMA}.even", 4, "4"),
]
BAD = [
    ("bigint", 2**63, "22003"),
    ("int", 2**31, "22003"),
    ("int", SECRET, "22P02"),
    ("boolean", SECRET, "22P02"),
    ("numeric(6, 2)", 12345, "22003"),
    ("varchar(3)", SECRET, "22001"),
    ("uuid", SECRET, "22P02"),
    ("timestamptz", SECRET, "22007"),
    ("timestamptz", "2026-13-40T00:00:00Z", "22008"),
    ("inet", SECRET, "22P02"),
    (f"{SCHEMA}.mood", SECRET, "22P02"),
    (f"{SCHEMA}.even", 3, "23514"),
]


@pytest.fixture(scope="session")
def types(tables: Tables) -> None:
    tables.run(f"""
        create type {SCHEMA}.mood as enum ('fine', 'good');
        create domain {SCHEMA}.even as int constraint is_even check (value % 2 = 0);
    """)


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(("kind", "value", "expected"), GOOD)
def test_value_arrives_as_it_is(
    wire: Wire, tables: Tables, kind: str, value: object, expected: str
) -> None:
    table = tables.create(f"id int primary key, value {kind}")
    tables.run("set timezone = 'UTC'")

    for _ in "insert", "update":
        rows: list[Row] = [{"id": 1, "value": value}, {"id": 2, "value": None}]
        assert wire.apply(upsert(table, *rows)).failures == []
        assert tables.read(table, "id, value::text") == [(1, expected), (2, None)]


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(("kind", "value", "sqlstate"), BAD)
def test_value_that_its_column_refuses_fails_alone(
    wire: Wire, tables: Tables, kind: str, value: object, sqlstate: str
) -> None:
    table = tables.create(f"id int primary key, value {kind}")
    rows: list[Row] = [{"id": n, "value": value if n == 2 else None} for n in (1, 2, 3)]

    answer = wire.apply(upsert(table, *rows))

    assert without_messages(answer.failures) == [failure(1, sqlstate)]
    assert str(value) not in answer.failures[0].get("message", "")
    assert tables.read(table, "id") == [(1,), (3,)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [2**53 + 1, 2**53 + 2, 2**53 + 3]),
        ("text", ["a b", "O'Brien \"\\", "\U0001f1ea\u2028"]),
        ("timestamptz", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "2026-01-02"]),
        ("int[]", [[1, 2], [3], []]),
    ],
)
def test_key_of_any_type_identifies_its_row(
    wire: Wire, tables: Tables, kind: str, values: list[Any]
) -> None:
    table = tables.create(f"id {kind} primary key, name int")
    assert wire.apply(upsert(table, *({"id": v, "name": 0} for v in values))).failures == []

    answer = wire.apply(
        delete(table, {"id": values[0]}), upsert(table, {"id": values[1], "name": 1})
    )

    assert answer.failures == []
    assert sorted(tables.read(table, "name")) == [(0,), (1,)]


def test_message_of_a_refused_value_says_which_type_and_not_which_value(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create("id int primary key, code uuid, short varchar(3)")

    answer = wire.apply(
        upsert(table, {"id": 1, "code": SECRET}), upsert(table, {"id": 1, "short": SECRET})
    )

    assert [failed["message"] for failed in answer.failures] == [
        "invalid input syntax for type uuid",
        "value too long for type character varying(3)",
    ]


def test_text_that_postgresql_cannot_hold_ends_the_request_as_a_whole(
    wire: Wire, tables: Tables
) -> None:
    # PostgreSQL reads no part of such a JSON. The relay refuses it where it comes in.
    table = tables.create("id int primary key, name text")

    answers = [wire.apply(upsert(table, {"id": 1, "name": f"{SECRET}\0"}))]
    request = json.dumps(
        {
            "epoch": wire.epoch,
            "sequence": 2,
            "budget_ms": 1000,
            "operations": [upsert(table, {"id": 1, "name": f"{SECRET}\ud800"})],
        }
    )
    answers.append(wire.send("relay_apply", request))

    assert [answer.code in ("22P05", "22P02", UNKNOWN) for answer in answers] == [True, True]
    assert tables.read(table) == []
