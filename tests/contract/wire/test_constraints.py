"""A row that a constraint refuses fails alone, and names what refused it."""

import secrets
from collections.abc import Callable

import pytest

from tests.contract.wire.driver import (
    SECRET,
    Operation,
    Row,
    Wire,
    delete,
    failure,
    update,
    upsert,
    without_messages,
)
from tests.contract.wire.tables import SCHEMA, Tables


def names(table: str, **others: str) -> dict[str, str]:
    return {"schema": SCHEMA, "table": table.rpartition(".")[2], **others}


@pytest.mark.parametrize("kind", [upsert, update])
def test_not_null_names_the_column(
    wire: Wire, tables: Tables, kind: Callable[..., Operation]
) -> None:
    table = tables.create('id int primary key, "Full Name" text not null')
    tables.run(f"insert into {table} values (1, 'a'), (2, 'b'), (3, 'c')")
    rows = [{"id": n, "Full Name": None if n == 2 else SECRET} for n in (1, 2, 3)]

    answer = wire.apply(kind(table, *rows))

    assert without_messages(answer.failures) == [
        failure(1, "23502", **names(table, column="Full Name"))
    ]
    assert tables.read(table) == [(1, SECRET), (2, "b"), (3, SECRET)]


def test_check_names_the_constraint(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text constraint short check (length(name) < 9)")

    answer = wire.apply(upsert(table, {"id": 1, "name": SECRET}, {"id": 2, "name": "b"}))

    assert answer.failures == [
        failure(
            0,
            "23514",
            **names(table, constraint="short"),
            message=f'new row for relation "{names(table)["table"]}" violates check constraint'
            ' "short"',
        )
    ]
    assert tables.read(table) == [(2, "b")]


def test_domain_names_its_constraint_in_the_message(wire: Wire, tables: Tables) -> None:
    tables.run(f"create domain {SCHEMA}.short as text constraint is_short check (length(value)<9)")
    table = tables.create(f"id int primary key, name {SCHEMA}.short")

    (failed,) = wire.apply(upsert(table, {"id": 1, "name": SECRET})).failures

    assert failed == failure(
        0,
        "23514",
        message='value for domain short violates check constraint "is_short"',
    )


def test_missing_parent_names_the_constraint_and_the_column(wire: Wire, tables: Tables) -> None:
    parent = tables.create("id int primary key")
    table = tables.create(
        f'id int primary key, "Parent Id" int constraint "The Parent" references {parent}'
    )
    tables.run(f"insert into {parent} values (1)")

    answer = wire.apply(
        upsert(table, {"id": 1, "Parent Id": 1}, {"id": 2, "Parent Id": 2}),
        update(table, {"id": 1, "Parent Id": 3}),
    )

    assert without_messages(answer.failures) == [
        failure(1, "23503", **names(table, column="Parent Id", constraint="The Parent")),
        failure(0, "23503", 1, **names(table, column="Parent Id", constraint="The Parent")),
    ]
    assert tables.read(table) == [(1, 1)]


def test_missing_parent_of_a_composite_key_names_the_constraint(wire: Wire, tables: Tables) -> None:
    parent = tables.create("a int, b int, primary key (a, b)")
    table = tables.create(
        "id int primary key, a int, b int,"
        f" constraint parent foreign key (a, b) references {parent}"
    )

    answer = wire.apply(upsert(table, {"id": 1, "a": 1, "b": 1}))

    assert without_messages(answer.failures) == [
        failure(0, "23503", **names(table, constraint="parent"))
    ]


@pytest.mark.parametrize("action", ["no action", "restrict"])
def test_row_still_referenced_names_the_table_that_refers(
    wire: Wire, tables: Tables, action: str
) -> None:
    parent = tables.create("id int primary key")
    child = tables.create(
        f"id int, parent int constraint refers references {parent} on delete {action}"
    )
    tables.run(f"insert into {parent} values (1), (2), (3); insert into {child} values (1, 2)")

    answer = wire.apply(delete(parent, {"id": 1}, {"id": 2}, {"id": 3}))

    (failed,) = answer.failures
    # PostgreSQL 18 has a separate code for RESTRICT.
    assert failed["sqlstate"] in ("23503", "23001")
    assert failed["message"].endswith(
        f' foreign key constraint "refers" on table "{names(child)["table"]}"'
    )
    expected = failure(1, failed["sqlstate"], **names(child, column="parent", constraint="refers"))
    assert without_messages([failed]) == [expected]
    assert tables.read(parent) == [(2,)]


def test_delete_cascades(wire: Wire, tables: Tables) -> None:
    parent = tables.create("id int primary key")
    child = tables.create(f"id int, parent int references {parent} on delete cascade")
    tables.run(f"insert into {parent} values (1), (2); insert into {child} values (1, 1), (2, 2)")

    assert wire.apply(delete(parent, {"id": 1})).failures == []

    assert tables.read(child) == [(2, 2)]


def test_value_taken_by_another_row_names_the_constraint(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text constraint one_name unique")
    tables.run(f"create unique index lower_name on {table} (lower(name))")
    tables.run(f"insert into {table} values (1, '{SECRET}')")

    answer = wire.apply(
        upsert(
            table,
            {"id": 2, "name": SECRET},
            {"id": 3, "name": SECRET.upper()},
            {"id": 4, "name": "b"},
        )
    )

    assert without_messages(answer.failures) == [
        failure(0, "23505", **names(table, constraint="one_name")),
        failure(1, "23505", **names(table, constraint="lower_name")),
    ]
    assert tables.read(table) == [(1, SECRET), (4, "b")]


def swap(table: str) -> Operation:
    rows: list[Row] = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}, {"id": 3, "name": "c"}]
    return upsert(table, *rows)


def test_swapped_values_conflict_and_leave_the_rest_applied(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text unique")
    tables.run(f"insert into {table} values (1, 'a'), (2, 'b')")

    answer = wire.apply(swap(table))

    assert [(f["row"], f["sqlstate"]) for f in answer.failures] == [(0, "23505"), (1, "23505")]
    assert tables.read(table) == [(1, "a"), (2, "b"), (3, "c")]

    # What the relay does about it.
    answer = wire.apply(update(table, {"id": 1, "name": "placeholder"}), swap(table))

    assert [(f["operation"], f["row"]) for f in answer.failures] == [(1, 0)]
    assert wire.apply(swap(table)).failures == []
    assert tables.read(table) == [(1, "b"), (2, "a"), (3, "c")]


def test_value_that_moves_on_is_free_for_the_row_after_it(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text unique")
    tables.run(f"insert into {table} values (1, 'a')")

    answer = wire.apply(upsert(table, {"id": 1, "name": "b"}, {"id": 2, "name": "a"}))

    assert answer.failures == []
    assert tables.read(table) == [(1, "b"), (2, "a")]


def test_swap_under_a_deferred_unique_constraint_succeeds(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text unique deferrable initially deferred")
    tables.run(f"insert into {table} values (1, 'a'), (2, 'b')")

    assert wire.apply(swap(table)).failures == []

    assert tables.read(table) == [(1, "b"), (2, "a"), (3, "c")]


def test_deferred_constraints_fail_their_row_and_not_the_request(
    wire: Wire, tables: Tables
) -> None:
    parent = tables.create("id int primary key")
    table = tables.create(f"""
        id int primary key,
        name text constraint a_name unique deferrable initially deferred,
        parent int constraint parent references {parent} deferrable initially deferred
    """)

    answer = wire.apply(
        upsert(
            table,
            {"id": 1, "name": "a", "parent": None},
            {"id": 2, "name": "b", "parent": 7},
            {"id": 3, "name": "a", "parent": None},
        )
    )

    assert without_messages(answer.failures) == [
        failure(1, "23503", **names(table, column="parent", constraint="parent")),
        failure(2, "23505", **names(table, constraint="a_name")),
    ]
    assert tables.read(table, "id") == [(1,)]


def test_deferred_constraint_trigger_fails_its_row(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key")
    name = f"{SCHEMA}.refuse_two"
    tables.run(f"""
        create function {name}() returns trigger language plpgsql as $$
        begin if new.id = 2 then raise exception '{SECRET}'; end if; return null; end
        $$;
        create constraint trigger late after insert on {table} deferrable initially deferred
          for each row execute function {name}();
    """)

    answer = wire.apply(upsert(table, {"id": 1}, {"id": 2}, {"id": 3}))

    assert answer.failures == [failure(1, "P0001")]
    assert tables.read(table) == [(1,), (3,)]


def test_deferrable_key_cannot_be_upserted_by_but_updated_by(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key deferrable, name text")
    tables.run(f"insert into {table} values (1, 'a')")

    answer = wire.apply(
        upsert(table, {"id": 2, "name": "b"}), update(table, {"id": 1, "name": "c"})
    )

    assert without_messages(answer.failures) == [failure(0, "55000")]
    assert tables.read(table) == [(1, "c")]


def test_exclusion_constraint_is_named(wire: Wire, tables: Tables) -> None:
    table = tables.create(
        "id int primary key, span int4range, constraint apart exclude using gist (span with &&)"
    )

    answer = wire.apply(upsert(table, {"id": 1, "span": "[1,5)"}, {"id": 2, "span": "[4,6)"}))

    assert without_messages(answer.failures) == [
        failure(1, "23P01", **names(table, constraint="apart"))
    ]


def test_row_too_large_for_an_index_fails_alone(wire: Wire, tables: Tables) -> None:
    table = tables.create("id int primary key, name text")
    tables.run(f"create index by_name on {table} (name)")
    # More than a third of a page, and random, so that it does not compress.
    large = secrets.token_hex(3500)

    answer = wire.apply(
        upsert(table, {"id": 1, "name": "a"}, {"id": 2, "name": large}, {"id": 3, "name": "b"})
    )

    (failed,) = answer.failures
    assert without_messages([failed]) == [failure(1, "54000")]
    assert 'for index "by_name"' in failed["message"]
    assert tables.read(table, "id") == [(1,), (3,)]
