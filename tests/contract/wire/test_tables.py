"""Tables of every shape: names, schemas, keys, columns that the request does not mention."""

import pytest

from tests.contract.wire.driver import Wire, delete, failure, update, upsert, without_messages
from tests.contract.wire.tables import SCHEMA, Tables


@pytest.mark.parametrize(
    "name",
    ["Weird Table", 'quo"ted', "UPPER", "select", "a.b", "excluded", "existing", "given", "ñandú"],
)
def test_names_are_taken_as_they_are(wire: Wire, tables: Tables, name: str) -> None:
    table = tables.create(
        '"Weird Id" int primary key, "select" text, "a""b" text, given text', name=name
    )
    quoted = f'{SCHEMA}."{name.replace(chr(34), chr(34) * 2)}"'
    row = {"Weird Id": 1, "select": "a", 'a"b': "b", "given": "c"}
    key = ("Weird Id",)
    try:
        assert wire.apply(upsert(table, row, {**row, "Weird Id": 2}, key=key)).failures == []
        assert wire.apply(upsert(table, {**row, "select": "d"}, key=key)).failures == []
        change = {"Weird Id": 1, 'a"b': "e"}
        assert wire.apply(update(table, change, key=key)).failures == []
        assert tables.read(quoted) == [(1, "d", "e", "c"), (2, "a", "b", "c")]
        assert wire.apply(delete(table, {"Weird Id": 1}, key=key)).failures == []
        assert tables.read(quoted) == [(2, "a", "b", "c")]
    finally:
        tables.run(f"drop table {quoted}")


def test_text_that_looks_like_sql_stays_a_name(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key")
    injection = "id) values (1); drop schema relay_conformance cascade; --"

    answers = [
        wire.apply(upsert(f"{table}; drop table {table}", {"id": 1})),
        wire.apply(upsert(table, {injection: 1}, key=(injection,))),
        wire.apply(upsert(table, {"id": 1}, key=(injection,))),
        wire.apply(delete(table, {injection: 1}, key=(injection,))),
    ]

    assert [answer.failures[0]["sqlstate"] for answer in answers] == [
        "42P01",
        "42703",
        "42703",
        "42703",
    ]
    assert tables.read(table) == []


def test_columns_that_are_not_given_keep_their_values_or_get_their_defaults(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create(
        "id int primary key, name text, extra text default 'default', other int, touched text"
    )
    tables.run(f"insert into {table} values (1, 'old', 'kept', 7, 'kept')")

    assert (
        wire.apply(upsert(table, {"id": 1, "name": "new"}, {"id": 2, "name": "b"})).failures == []
    )
    assert wire.apply(update(table, {"id": 2, "touched": "c"})).failures == []

    assert tables.read(table) == [(1, "new", "kept", 7, "kept"), (2, "b", "default", None, "c")]


def test_null_is_written_over_a_value(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text default 'default'")

    wire.apply(upsert(table, {"id": 1, "name": "a"}, {"id": 2, "name": None}))
    wire.apply(update(table, {"id": 1, "name": None}))

    assert tables.read(table) == [(1, None), (2, None)]


def test_rows_of_keys_alone_are_inserted_once(wire: Wire, tables: Tables) -> None:
    table = tables.create("a int, b text, extra int default 3, primary key (a, b)")
    rows = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}]
    key = ("b", "a")

    assert wire.apply(upsert(table, *rows, key=key)).failures == []
    assert wire.apply(upsert(table, *rows, {"a": 2, "b": "x"}, key=key)).failures == []
    missing = update(table, rows[0], {"a": 9, "b": "x"}, key=key)
    assert wire.apply(missing).failures == [failure(1, "P0002")]

    assert tables.read(table) == [(1, "x", 3), (1, "y", 3), (2, "x", 3)]


def test_key_other_than_the_primary_key_needs_a_unique_constraint(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create(
        "id int generated always as identity primary key, code text unique, name text"
    )

    assert wire.apply(upsert(table, {"code": "a", "name": "b"}, key=("code",))).failures == []
    assert wire.apply(upsert(table, {"code": "a", "name": "c"}, key=("code",))).failures == []
    assert wire.apply(update(table, {"code": "a", "name": "d"}, key=("code",))).failures == []
    no_key = wire.apply(upsert(table, {"code": "x", "name": "a"}, key=("name",)))

    assert [failed["sqlstate"] for failed in no_key.failures] == ["42P10"]
    assert tables.read(table, "code, name") == [("a", "d")]


def test_row_given_twice_ends_as_the_later_says(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text")

    answer = wire.apply(
        upsert(table, {"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 1, "name": "c"}),
        update(table, {"id": 2, "name": "d"}, {"id": 2, "name": "e"}),
    )

    assert answer.failures == []
    assert tables.read(table) == [(1, "c"), (2, "e")]


def test_generated_columns_follow_and_refuse_values(wire: Wire, tables: Tables) -> None:
    table = tables.create(
        "id int primary key, name text, shout text generated always as (upper(name)) stored"
    )

    good = upsert(table, {"id": 1, "name": "a"}, {"id": 2, "name": "b"})
    answer = wire.apply(good, upsert(table, {"id": 3, "name": "c", "shout": "D"}))

    assert without_messages(answer.failures) == [failure(0, "428C9", 1)]
    assert tables.read(table) == [(1, "a", "A"), (2, "b", "B")]


def test_identity_that_the_database_gives_is_a_key_for_update_and_delete(
    wire: Wire, tables: Tables
) -> None:
    table = tables.create("id int generated always as identity primary key, name text")
    tables.run(f"insert into {table} (name) values ('a'), ('b'), ('c')")

    answer = wire.apply(
        update(table, {"id": 1, "name": "x"}, {"id": 2, "name": "y"}), delete(table, {"id": 3})
    )

    assert answer.failures == []
    assert tables.read(table) == [(1, "x"), (2, "y")]


def test_partitioned_table_is_written_through(wire: Wire, tables: Tables) -> None:
    name = tables.create("id int primary key, name text").rpartition(".")[2]
    tables.run(f"""
        drop table {SCHEMA}.{name};
        create table {SCHEMA}.{name} (id int primary key, name text) partition by range (id);
        create table {SCHEMA}.{name}_low partition of {SCHEMA}.{name} for values from (0) to (10);
        grant all on {SCHEMA}.{name} to service_role;
    """)
    table = f"{SCHEMA}.{name}"

    answer = wire.apply(upsert(table, {"id": 1, "name": "a"}, {"id": 11, "name": "b"}))

    assert [failed["sqlstate"] for failed in answer.failures] == ["23514"]
    assert answer.failures[0]["row"] == 1
    assert tables.read(table) == [(1, "a")]


def test_soft_delete_by_update_leaves_the_row(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text not null, deleted_at timestamptz")
    tables.run(f"insert into {table} values (1, 'a', null)")

    answer = wire.apply(update(table, {"id": 1, "deleted_at": "2026-01-02T03:04:05Z"}))

    assert answer.failures == []
    assert tables.read(table, "id, name, deleted_at is null") == [(1, "a", False)]
