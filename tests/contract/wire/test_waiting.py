"""Nothing that others hold, and nothing that is slow, holds the relay for long."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.contract.wire.driver import (
    UNKNOWN,
    Answer,
    Operation,
    Wire,
    delete,
    failure,
    update,
    upsert,
)
from tests.contract.wire.tables import SCHEMA, Tables

COLUMNS = "id int primary key, name text"
BUSY = "55P03"


# On a busy machine too: a request that takes 5 s ends by its statement timeout.
LONGEST = 15.0


@contextmanager
def taking(least: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert least <= time.monotonic() - started <= LONGEST


@pytest.fixture
def table(tables: Tables) -> str:
    """Give a table of ten rows."""
    table = tables.create(COLUMNS)
    tables.run(f"insert into {table} select n, 'old' from generate_series(0, 9) as n")
    return table


def test_held_fence_ends_the_request_as_a_whole(wire: Wire, tables: Tables, table: str) -> None:
    request = upsert(table, {"id": 1, "name": "new"})
    with tables.held("select from relay.fence for update"):
        with taking(1.5):
            answer = wire.apply(request, sequence=1)
        with taking(1.5):
            claim = wire.send("relay_claim", '{"protocol": 1}')
    assert (answer.code, claim.code) == (BUSY, BUSY)
    assert tables.read(table)[1] == (1, "old")

    # The very same request may be sent again.
    assert wire.apply(request, sequence=1).failures == []


def test_fence_that_is_freed_in_time_lets_the_request_through(
    wire: Wire, tables: Tables, table: str
) -> None:
    with ThreadPoolExecutor() as pool:
        with tables.held("select from relay.fence for update"):
            answer = pool.submit(wire.apply, upsert(table, {"id": 1, "name": "new"}))
            tables.await_waiter()
        assert answer.result().failures == []
    assert tables.read(table)[1] == (1, "new")


def test_request_that_waits_for_a_claim_is_stale_after_it(
    wire: Wire, tables: Tables, table: str
) -> None:
    claim = "update relay.fence set epoch = epoch + 1, sequence = 0 where is_only"
    with ThreadPoolExecutor() as pool:
        with tables.held(claim, commit=True):
            answer = pool.submit(wire.apply, upsert(table, {"id": 1, "name": "new"}))
            tables.await_waiter()
        assert answer.result().code == "PT409"
    assert tables.read(table)[1] == (1, "old")


def test_claim_waits_for_the_request_that_is_being_applied(
    wire: Wire, tables: Tables, table: str
) -> None:
    # A sequence is not rolled back, and everybody sees at once that it was used.
    tables.run(f"create sequence {SCHEMA}.started; grant usage on {SCHEMA}.started to service_role")
    tables.add_trigger(table, f"perform nextval('{SCHEMA}.started'); perform pg_sleep(1);")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(wire.apply, update(table, {"id": 1, "name": "new"}))
        tables.await_true(f"select is_called from {SCHEMA}.started")

        Wire(wire.send).claim()

        assert answer.result().failures == []
        assert tables.read(table)[1] == (1, "new")
        assert wire.apply().code == "PT409"


def test_requests_at_the_same_time_take_turns(wire: Wire, tables: Tables, table: str) -> None:
    tables.add_trigger(table, "perform pg_sleep(0.05);")

    def apply(sequence: int) -> Answer:
        row = {"id": 1, "name": str(sequence)}
        return wire.apply(update(table, row), sequence=sequence)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(apply, range(1, 9)))

    assert {answer.code for answer in answers} <= {None, "PT409", BUSY}
    latest = max(answer.body["sequence"] for answer in answers if answer.code is None)
    assert tables.read(table)[1] == (1, str(latest))


@pytest.mark.parametrize("kind", [upsert, update, delete])
def test_locked_row_fails_alone(
    wire: Wire, tables: Tables, table: str, kind: Callable[..., Operation]
) -> None:
    rows = [{"id": n, "name": "new"} for n in range(10)]
    with (
        tables.held(f"select from {table} where id in (3, 7) for update"),
        taking(0.6),
    ):
        answer = wire.apply(kind(table, *rows))

    message = "canceling statement due to lock timeout"
    assert answer.failures == [failure(n, BUSY, message=message) for n in (3, 7)]
    assert [number for number, name in tables.read(table) if name == "old"] == [3, 7]
    assert wire.apply(kind(table, *rows)).failures == []


def test_row_that_another_transaction_is_inserting_fails_alone(
    wire: Wire, tables: Tables, table: str
) -> None:
    with tables.held(f"insert into {table} values (11, 'theirs')"), taking(0.6):
        answer = wire.apply(upsert(table, *({"id": n, "name": "new"} for n in (10, 11, 12))))

    assert [(failed["row"], failed["sqlstate"]) for failed in answer.failures] == [(1, BUSY)]
    assert tables.read(table, "id")[10:] == [(10,), (12,)]


def test_locked_parent_fails_the_rows_that_refer_to_it(wire: Wire, tables: Tables) -> None:
    parent = tables.create("id int primary key")
    table = tables.create(f"id int primary key, parent int references {parent}")
    tables.run(f"insert into {parent} values (1), (2)")

    with tables.held(f"select from {parent} where id = 2 for update"), taking(0.6):
        answer = wire.apply(upsert(table, *({"id": n, "parent": n} for n in (1, 2))))

    assert [(failed["row"], failed["sqlstate"]) for failed in answer.failures] == [(1, BUSY)]
    assert tables.read(table) == [(1, 1)]


def test_locked_table_fails_its_rows_and_the_other_tables_go_on(
    wire: Wire, tables: Tables, table: str
) -> None:
    other = tables.create(COLUMNS)
    rows = [{"id": n, "name": "new"} for n in range(5)]
    with tables.held(f"lock table {table} in access exclusive mode"), taking(0.9):
        answer = wire.apply(upsert(table, *rows), upsert(other, *rows))

    assert [(f["operation"], f["row"], f["sqlstate"]) for f in answer.failures] == [
        (0, n, BUSY) for n in range(5)
    ]
    assert len(tables.read(other)) == 5


def test_locked_table_uses_up_the_budget_and_no_more(
    wire: Wire, tables: Tables, table: str
) -> None:
    other = tables.create(COLUMNS)
    rows = [{"id": n, "name": "new"} for n in range(500)]
    with tables.held(f"lock table {table} in access exclusive mode"), taking(0.9):
        answer = wire.apply(upsert(table, *rows), upsert(other, *rows[:2]), budget_ms=2000)

    failed = [entry["row"] for entry in answer.failures]
    assert failed
    assert failed == list(range(len(failed)))
    assert answer.not_tried == [
        *({"operation": 0, "row": n} for n in range(len(failed), 500)),
        *({"operation": 1, "row": n} for n in range(2)),
    ]
    assert tables.read(other) == []


def test_budget_used_up_leaves_the_rest_untried(wire: Wire, tables: Tables, table: str) -> None:
    slow = tables.create(COLUMNS)
    tables.add_trigger(slow, "perform pg_sleep(1.2);")

    answer = wire.apply(
        upsert(slow, {"id": 1, "name": "a"}),
        upsert(table, *({"id": n, "name": "new"} for n in range(2))),
        delete(table, {"id": 9}),
        budget_ms=1000,
    )

    assert answer.failures == []
    assert answer.not_tried == [
        {"operation": 1, "row": 0},
        {"operation": 1, "row": 1},
        {"operation": 2, "row": 0},
    ]
    assert tables.read(slow) == [(1, "a")]
    assert [name for _, name in tables.read(table)] == ["old"] * 10


def test_budget_is_looked_at_between_rows(wire: Wire, tables: Tables) -> None:
    slow = tables.create(COLUMNS)
    tables.add_trigger(slow, "if new.id = 0 then raise 'no'; end if; perform pg_sleep(0.8);")

    answer = wire.apply(upsert(slow, *({"id": n, "name": "a"} for n in range(10))), budget_ms=2000)

    assert answer.failures == [failure(0, "P0001")]
    done = len(tables.read(slow))
    assert 1 <= done <= 3
    assert answer.not_tried == [{"operation": 0, "row": n} for n in range(done + 1, 10)]


def test_statement_timeout_ends_the_request_as_a_whole(
    wire: Wire, tables: Tables, table: str
) -> None:
    slow = tables.create(COLUMNS)
    tables.add_trigger(slow, "perform pg_sleep(60);")

    with taking(4):
        answer = wire.apply(
            upsert(table, {"id": 1, "name": "new"}),
            upsert(slow, {"id": 1, "name": "a"}),
            budget_ms=60_000,
            sequence=1,
        )

    assert answer.code in ("57014", UNKNOWN)
    assert tables.read(table)[1] == (1, "old")
    assert tables.read(slow) == []
    # The fence is free again, and the sequence was not used up.
    assert wire.apply(upsert(table, {"id": 1, "name": "new"}), sequence=1).failures == []


def test_settings_of_a_request_do_not_outlive_it(wire: Wire, tables: Tables, table: str) -> None:
    other = tables.create(COLUMNS)
    assert wire.apply(upsert(table, {"id": 1, "name": "new"})).failures == []
    # Row by row the lock timeout was 100 ms; the next request waits for the fence as ever.
    with tables.held("select from relay.fence for update"), taking(1.5):
        assert wire.apply(upsert(other, {"id": 1, "name": "a"})).code == BUSY
