"""Copying a store into another."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text

from app.domain.criteria import Criteria
from app.domain.errors import ConfigurationInvalid
from app.store.copying import TABLES, CopyFailed, copy_store
from app.store.engine import hold_lock, open_engine, read_store_url
from app.store.migrating import migrate_store
from app.store.receiving import Receipt
from app.store.schema import events
from app.store.store import Store
from tests.histories import NOW, World
from tests.store import actions

PAGE_ROWS = 7
USERS = 20


def ignore(*_: object) -> None:
    pass


def copy(source: str, target: str) -> None:
    copy_store(source, target, report=ignore, page_rows=PAGE_ROWS)


def count_rows(url: str) -> dict[str, int]:
    engine = open_engine(read_store_url(url))
    with engine.connect() as connection:
        rows = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in TABLES
        }
    engine.dispose()
    return rows


@pytest.fixture
def target_url(empty_url: str) -> str:
    return empty_url


@pytest.fixture
def world() -> World:
    return World(users=tuple(str(uuid.uuid4()) for _ in range(USERS)))


@pytest.fixture
async def source_url(store_url: str, world: World) -> str:
    """Name a store with rows of every table and every state, whose newest events are gone."""
    store = await Store.open(store_url)
    people = [world.user("created", user, name=f"n{user}") for user in range(USERS)]
    await store.store_events([*people, world.trip("created")], NOW)
    await actions.have_applied(store)
    await store.store_events([world.membership("created", 0, user) for user in range(USERS)], NOW)
    await store.store_events([world.user("deleted", 3, at=1)], NOW)
    await actions.have_refused(store)
    await actions.begin_replay(store, Criteria())
    await store.store_events([world.user("updated", 5, at=2, name="other")], NOW)
    await store.beat(NOW)
    await store.close()
    engine = open_engine(read_store_url(store_url))
    with engine.begin() as connection:
        last = connection.execute(select(func.max(events.c.sequence))).scalar_one()
        connection.execute(delete(events).where(events.c.sequence > last - 3))
    engine.dispose()
    return store_url


async def test_copy_has_every_row_and_goes_on_where_the_source_stood(
    source_url: str, target_url: str, world: World
) -> None:
    copy(source_url, target_url)

    assert count_rows(target_url) == count_rows(source_url)
    receipts, backlogs, next_events = [], [], []
    for url in (source_url, target_url):
        store = await Store.open(url)
        backlogs.append(await store.measure_backlog(NOW))
        again = world.user("created", 7, name="n7")
        receipts.append(await store.store_events([again], NOW))
        found = await store.find_event(again.event_id)
        assert found is not None
        # Also past the sequences of events that are gone.
        next_events.append(found.sequence)
        await store.close()
    assert receipts == [[Receipt.ACCEPTED]] * 2
    assert backlogs[0] == backlogs[1]
    assert backlogs[0].pending > 0
    assert backlogs[0].dead > 0
    assert next_events[0] == next_events[1]


def test_copy_back_is_the_original(source_url: str, target_url: str, tmp_path: Path) -> None:
    back = f"sqlite:///{tmp_path}/back.db"
    first = copy_store(source_url, target_url, report=ignore, page_rows=PAGE_ROWS)
    assert copy_store(target_url, back, report=ignore) == first


def test_copy_reports_every_row_of_each_step(source_url: str, target_url: str) -> None:
    reports: list[tuple[str, int, int]] = []
    copy_store(
        source_url, target_url, report=lambda *report: reports.append(report), page_rows=PAGE_ROWS
    )
    total = sum(count_rows(source_url).values())
    ends = {what: (done, of) for what, done, of in reports}
    assert ends == dict.fromkeys(("reading", "copying", "verifying"), (total, total))


@pytest.mark.parametrize("after_rows", [0, PAGE_ROWS, 6 * PAGE_ROWS])
async def test_copy_that_was_ended_goes_on_and_no_relay_starts_meanwhile(
    source_url: str, target_url: str, after_rows: int
) -> None:
    def end(what: str, done: int, _: int) -> None:
        if what == "copying" and done >= after_rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(source_url, target_url, report=end, page_rows=PAGE_ROWS)
    rows = count_rows(target_url)
    assert after_rows <= sum(rows.values()) < sum(count_rows(source_url).values())
    with pytest.raises(ConfigurationInvalid, match="copy that was not finished"):
        await Store.open(target_url)
    with pytest.raises(ConfigurationInvalid, match="--from names a copy that was not finished"):
        copy(target_url, source_url)

    copy(source_url, target_url)
    assert count_rows(target_url) == count_rows(source_url)
    await (await Store.open(target_url)).close()


def test_copy_killed_while_it_writes_goes_on(
    source_url: str, target_url: str, tmp_path: Path
) -> None:
    script = (
        "import os, signal, sys\n"
        "from app.store.copying import copy_store\n"
        "def report(what, done, total):\n"
        "    if what == 'copying' and done > 20: os.kill(os.getpid(), signal.SIGKILL)\n"
        "copy_store(*sys.argv[1:], report=report, page_rows=7)\n"
    )
    killed = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", script, source_url, target_url],
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    copy(source_url, target_url)
    assert count_rows(target_url) == count_rows(source_url)


def test_copy_goes_on_only_from_the_very_same_source(source_url: str, target_url: str) -> None:
    def end(what: str, done: int, _: int) -> None:
        if what == "copying" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(source_url, target_url, report=end, page_rows=PAGE_ROWS)
    change(source_url, "UPDATE entities SET attempts = attempts + 1 WHERE kind = 'trip'")
    with pytest.raises(ConfigurationInvalid, match="--to holds a part of another copy"):
        copy(source_url, target_url)


def test_copy_into_a_store_with_events_is_refused(source_url: str, target_url: str) -> None:
    copy(source_url, target_url)
    with pytest.raises(ConfigurationInvalid, match="--to names a store that is not empty"):
        copy(source_url, target_url)


def test_copy_with_a_row_changed_on_the_way_is_no_store(source_url: str, target_url: str) -> None:
    def tamper(what: str, done: int, total: int) -> None:
        if what == "copying" and done == total:
            change(target_url, "UPDATE entities SET revision = 99 WHERE kind = 'trip'")

    with pytest.raises(CopyFailed, match="other rows of entities"):
        copy_store(source_url, target_url, report=tamper)
    with pytest.raises(ConfigurationInvalid, match="not finished"):
        migrate_store(target_url)


async def test_copy_of_a_store_in_use_is_refused(source_url: str, target_url: str) -> None:
    migrate_store(target_url)
    store = await Store.open(source_url)
    try:
        if store.replicas is not None:
            assert await store.replicas.acquire_lease("host/1", 60)
        with pytest.raises(ConfigurationInvalid, match="--from names a store that"):
            copy(source_url, target_url)
        with pytest.raises(ConfigurationInvalid, match="--to names a store that"):
            copy(target_url, source_url)
    finally:
        await store.close()


def test_copy_that_others_write_to_while_it_runs_is_refused(
    source_url: str, target_url: str
) -> None:
    if read_store_url(source_url).get_backend_name() == "sqlite":
        # Nobody can: the file is locked.
        with (
            pytest.raises(ConfigurationInvalid, match="another relay"),
            hold_lock(read_store_url(source_url)),
        ):
            copy(source_url, target_url)
        return

    def receive(what: str, done: int, total: int) -> None:
        if what == "verifying" and done == total:
            change(source_url, "SELECT nextval('events_sequence_seq')")

    with pytest.raises(CopyFailed, match="taken events while"):
        copy_store(source_url, target_url, report=receive)
    with pytest.raises(ConfigurationInvalid, match="not finished"):
        migrate_store(target_url)


def test_copy_of_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="--from names no store"):
        copy(f"sqlite:///{tmp_path}/missing.db", f"sqlite:///{tmp_path}/target.db")
    assert list(tmp_path.glob("missing.db*")) == []


def test_copy_of_another_version_is_refused(tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    migrate_store(other)
    change(other, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationInvalid, match="run `relay migrate` on it first"):
        copy(other, f"sqlite:///{tmp_path}/target.db")


def test_copy_onto_itself_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    migrate_store(url)
    with pytest.raises(ConfigurationInvalid, match="the same store"):
        copy(url, url)
    with pytest.raises(ConfigurationInvalid, match="--to names a store that another relay"):
        copy(url, f"sqlite:///{tmp_path}/../{tmp_path.name}/relay.db")


def change(url: str, statement: str) -> None:
    engine = open_engine(read_store_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
