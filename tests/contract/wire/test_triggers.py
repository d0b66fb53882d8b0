"""A trigger may reject a row in any way: the others stay, and its message is not exposed."""

import pytest

from tests.contract.wire.driver import SECRET, Wire, delete, failure, update, upsert
from tests.contract.wire.tables import SCHEMA, Tables

ROWS = [{"id": n, "name": SECRET} for n in (1, 2, 3)]
COLUMNS = "id int primary key, name text"


@pytest.mark.parametrize(
    "sqlstate",
    ["P0001", "42501", "42883", "42P01", "38000", "XX000", "23505", "P0002", "P0004", "PT409",
     "55P03", "40001", "0A000", "57P01", "22P02"],
)  # fmt: skip
@pytest.mark.parametrize("when", ["before insert or update", "after insert or update"])
def test_row_that_a_trigger_refuses_fails_alone(
    wire: Wire, tables: Tables, sqlstate: str, when: str
) -> None:
    table = tables.create(COLUMNS)
    tables.add_trigger(
        table,
        f"if new.id = 2 then raise exception 'no: %', new.name using errcode = '{sqlstate}';"
        " end if;",
        when=when,
    )

    answer = wire.apply(upsert(table, *ROWS))

    assert answer.failures == [failure(1, sqlstate)]
    assert tables.read(table, "id") == [(1,), (3,)]


@pytest.mark.parametrize("words", ["new.name", "'relation \"' || new.name || '\" does not exist'",
    "'duplicate key value violates unique constraint \"' || new.name || '\"'",
    "'permission denied for table ' || replace(new.name, '-', '_')",
    "'deadlock detected'"])  # fmt: skip
@pytest.mark.parametrize("sqlstate", ["23505", "42501", "P0001"])
def test_words_and_names_of_a_trigger_are_not_told(
    wire: Wire, tables: Tables, words: str, sqlstate: str
) -> None:
    table = tables.create(COLUMNS)
    tables.add_trigger(
        table,
        f"""raise exception using errcode = '{sqlstate}', message = {words},
          detail = new.name, hint = new.name, column = new.name, constraint = new.name,
          datatype = new.name, table = new.name, schema = new.name;""",
    )

    answer = wire.apply(upsert(table, *ROWS))

    assert answer.failures == [failure(n, sqlstate) for n in range(3)]


def test_names_of_a_trigger_are_told_where_the_catalog_has_them(wire: Wire, tables: Tables) -> None:
    table = tables.create(COLUMNS)
    name = table.rpartition(".")[2]
    tables.add_trigger(
        table,
        f"""raise exception using errcode = '23514', message = new.name, column = 'name',
          constraint = new.name, table = '{name}', schema = '{SCHEMA}';""",
    )

    answer = wire.apply(upsert(table, ROWS[0]))

    assert answer.failures == [failure(0, "23514", schema=SCHEMA, table=name, column="name")]


@pytest.mark.parametrize(
    "body",
    [
        "execute format('select from %I', new.name);",
        "execute format('select %I', new.name);",
        "perform new.name::uuid;",
        "perform 1 / 0;",
        "assert false, new.name;",
        "insert into nowhere values (new.name);",
        f"insert into {SCHEMA}.audit (id) values (new.name::text);",
        "new.id := new.name;",
        "set transaction isolation level serializable;",
        "commit;",
    ],
)
def test_trigger_that_breaks_tells_no_value(wire: Wire, tables: Tables, body: str) -> None:
    tables.run(f"create table if not exists {SCHEMA}.audit (id varchar(3))")
    tables.run(f"grant all on {SCHEMA}.audit to service_role")
    table = tables.create(COLUMNS)
    tables.add_trigger(table, f"if new.id = 2 then {body} end if;")

    answer = wire.apply(upsert(table, *ROWS))

    assert [failed["row"] for failed in answer.failures] == [1]
    assert "message" not in answer.failures[0]
    assert tables.read(table, "id") == [(1,), (3,)]


def test_check_that_calls_a_function_tells_no_value(wire: Wire, tables: Tables) -> None:
    tables.run(f"""
        create function {SCHEMA}.refuse(name text) returns boolean language plpgsql as $$
        begin raise exception 'relation "%" does not exist', name using errcode = '42P01'; end
        $$
    """)
    table = tables.create(f"id int primary key, name text check ({SCHEMA}.refuse(name))")

    assert wire.apply(upsert(table, ROWS[0])).failures == [failure(0, "42P01")]


def test_trigger_that_needs_the_usual_search_path_works(wire: Wire, tables: Tables) -> None:
    # As through PostgREST: the table's own schema, then public.
    table, log = tables.create(COLUMNS), tables.create("id int").rpartition(".")[2]
    tables.add_trigger(
        table, f"insert into {log} values (new.id); perform active_trip_ids();",
        when="after insert",
    )  # fmt: skip

    assert wire.apply(upsert(table, *ROWS)).failures == []

    assert tables.read(f"{SCHEMA}.{log}") == [(1,), (2,), (3,)]


def test_trigger_that_skips_a_row_is_no_failure_of_an_upsert(wire: Wire, tables: Tables) -> None:
    table = tables.create(COLUMNS)
    tables.add_trigger(table, "if new.id = 2 then return null; end if;")

    assert wire.apply(upsert(table, *ROWS)).failures == []

    assert tables.read(table, "id") == [(1,), (3,)]


def test_trigger_that_changes_a_row_has_its_way(wire: Wire, tables: Tables) -> None:
    table = tables.create(COLUMNS)
    tables.add_trigger(table, "new.name := 'changed';")

    assert wire.apply(upsert(table, *ROWS), update(table, ROWS[0])).failures == []

    assert tables.read(table) == [(n, "changed") for n in (1, 2, 3)]


def test_trigger_that_refuses_a_delete_keeps_its_row_alone(wire: Wire, tables: Tables) -> None:
    table = tables.create(COLUMNS)
    wire.apply(upsert(table, *ROWS))
    tables.add_trigger(
        table,
        "if old.id = 2 then raise exception '%', old.name; end if;",
        when="before delete",
    )

    answer = wire.apply(delete(table, *({"id": n} for n in (1, 2, 3))))

    assert answer.failures == [failure(1, "P0001")]
    assert tables.read(table, "id") == [(2,)]
