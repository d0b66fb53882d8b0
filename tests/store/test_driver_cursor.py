"""The driver's cursor: named parameters, for one run and for many."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.store.driver_cursor import Cursor, open_cursor
from app.store.engine import open_engine
from app.store.store_url import read_store_url


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[Cursor]:
    engine = open_engine(read_store_url(f"sqlite:///{tmp_path}/relay.db"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pairs (a INTEGER, b TEXT)"))
    with engine.begin() as connection:
        yield open_cursor(connection)
    engine.dispose()


def test_executemany_binds_each_value_by_name(cursor: Cursor) -> None:
    rows = [{"b": f"{number}", "unused": None, "a": number} for number in range(3)]
    insert = "INSERT INTO pairs (b, a) SELECT :b || '-' || :b, :a WHERE :a <> 1"
    assert cursor.executemany(insert, rows).rowcount == 2
    found = cursor.execute("SELECT a, b FROM pairs ORDER BY a").fetchall()
    assert found == [(0, "0-0"), (2, "2-2")]


def test_statement_for_many_with_one_parameter_or_none_is_run_for_each(cursor: Cursor) -> None:
    cursor.executemany("INSERT INTO pairs (a) VALUES (:a)", [{"a": 1, "b": "x"}, {"a": 2}])
    cursor.executemany("INSERT INTO pairs (a) VALUES (3)", [{}, {}])
    found = cursor.execute("SELECT a, b FROM pairs ORDER BY a").fetchall()
    assert found == [(1, None), (2, None), (3, None), (3, None)]


def test_statement_for_many_that_misses_a_value_is_refused(cursor: Cursor) -> None:
    with pytest.raises(KeyError, match="b"):
        cursor.executemany("INSERT INTO pairs (a, b) VALUES (:a, :b)", [{"a": 1}])
