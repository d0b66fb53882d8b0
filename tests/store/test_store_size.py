"""The size of a store, whichever database keeps it."""

from pathlib import Path

from sqlalchemy import Engine, text

from app.store.store import Store
from app.store.store_size import StorePart, measure_store
from app.store.store_url import is_shared
from tests.histories import NOW, World


async def test_size_grows_with_what_is_stored(store: Store) -> None:
    before = sum((await store.search(measure_store)).values())
    await store.store_events([World().trip("created", name="x" * 100) for _ in range(500)], NOW)
    after = await store.search(measure_store)
    assert sum(after.values()) > before > 0


def test_size_of_a_file_is_that_of_its_files(engine: Engine, store_url: str) -> None:
    with engine.connect() as connection:
        connection.execute(text("create table extra (n integer)"))
        connection.commit()
        size = measure_store(connection)
        if is_shared(engine.url):
            assert size.keys() == {StorePart.TABLES, StorePart.INDEXES}
            return
        # The last connection to close removes the log.
        path = store_url.removeprefix("sqlite:///")
        assert size[StorePart.DATABASE] == Path(path).stat().st_size
        assert size[StorePart.WRITE_AHEAD_LOG] == Path(f"{path}-wal").stat().st_size > 0


def test_size_leaves_out_tables_of_others(engine: Engine) -> None:
    if not is_shared(engine.url):
        return
    with engine.begin() as connection:
        before = measure_store(connection)
        connection.execute(text("create table alien as select generate_series(1, 10000) as n"))
        assert measure_store(connection) == before


def test_size_is_measured_on_a_connection_with_temporary_tables(engine: Engine) -> None:
    with engine.begin() as connection:
        before = measure_store(connection)
        connection.execute(text("create temporary table scratch (n integer)"))
        assert measure_store(connection).keys() == before.keys()
