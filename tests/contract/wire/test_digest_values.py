"""`relay_digest` takes every value as the text that PostgreSQL writes for its column's type."""

from typing import Any
from uuid import UUID

import pytest

from tests.contract.wire.driver import Wire, expect_buckets, upsert
from tests.contract.wire.tables import SCHEMA, Tables

TEXTS = [
    "",
    " ",
    r"\N",
    "a\x1fb",
    "Zoë, Łódź, 東京",
    "\U0001f1ea\u2028",
    "O'Brien \"\\",
    "line\nline\ttab",
    "x" * 5000,
]
# The column's type, the constant, and the text of its value.
CONSTANTS: list[tuple[str, Any, str | None]] = [
    ("text", "a", "a"),
    ("text", "", ""),
    ("text", None, None),
    ("text", 12, "12"),
    ("boolean", True, "true"),
    ("bigint", 2**63 - 1, "9223372036854775807"),
    ("numeric(6, 2)", 1234.565, "1234.57"),
    ("double precision", 0.1, "0.1"),
    ("char(3)", "a", "a"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("date", "2026-01-02", "2026-01-02"),
    ("timestamp", "2026-01-02T03:04:05.678901Z", "2026-01-02 03:04:05.678901"),
    ("jsonb", {"b": [1, None], "a": "é"}, '{"a": "é", "b": [1, null]}'),
    ("jsonb", "text", '"text"'),
    ("jsonb", None, None),
    ("text[]", ["a", "b,c", None], '{a,"b,c",NULL}'),
    (f"{SCHEMA}.level", "high", "high"),
    (f"{SCHEMA}.short", "abc", "abc"),
]


@pytest.fixture(scope="module")
def types(tables: Tables) -> None:
    tables.run(f"""
        create type {SCHEMA}.level as enum ('low', 'high');
        create domain {SCHEMA}.short as varchar(3);
    """)


def test_digest_of_any_text_equals_that_of_the_relay(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text")
    rows: list[tuple[str, str | None]] = [(str(n), text) for n, text in enumerate(TEXTS)]
    rows.append(("99", None))
    assert wire.apply(upsert(table, *({"id": k, "name": n} for k, n in rows))).failures == []

    answer = wire.digest(table, columns=["name"])

    assert answer.buckets == expect_buckets(rows)


def test_null_and_its_text_count_as_the_same(wire: Wire, tables: Tables) -> None:
    # The price of one text per row; no value of the contract has this text by chance.
    table = tables.create("id int primary key, name text")
    tables.run(f"insert into {table} values (1, null)")
    null = wire.digest(table, columns=["name"]).buckets
    tables.run(f"update {table} set name = '\\N'")

    assert wire.digest(table, columns=["name"]).buckets == null


@pytest.mark.usefixtures("types")
@pytest.mark.parametrize(("kind", "value", "text"), CONSTANTS)
def test_constant_comes_back_as_the_text_that_its_rows_have(
    wire: Wire, tables: Tables, kind: str, value: object, text: str | None
) -> None:
    table = tables.create(f"id int primary key, value {kind}")
    assert wire.apply(upsert(table, {"id": 1, "value": value})).failures == []

    answer = wire.digest(table, columns=["value"], constants={"value": value})

    assert answer.constants == {"value": text}
    assert answer.buckets == expect_buckets([("1", text)])


@pytest.mark.usefixtures("types")
def test_values_of_other_types_count_as_their_texts(wire: Wire, tables: Tables) -> None:
    table = tables.create(f"id int primary key, a boolean, b {SCHEMA}.level, c numeric, d uuid")
    value = str(UUID(int=7))
    row = {"id": 1, "a": False, "b": "low", "c": 1.50, "d": value}
    assert wire.apply(upsert(table, row)).failures == []

    answer = wire.digest(table, columns=["d", "c", "b", "a"])

    assert answer.buckets == expect_buckets([("1", value, "1.5", "low", "false")])
