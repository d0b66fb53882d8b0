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
from app.store import backlog_queries, event_queries, lease
from app.store.engine import open_engine
from app.store.receive import Receipt
from app.store.schema import events
from app.store.schema_upgrade import upgrade_store
from app.store.store import Store
from app.store.store_copy import TABLES, CopyFailed, copy_store
from app.store.store_lock import hold_store_lock
from app.store.store_url import read_store_url
from tests.histories import NOW, World
from tests.store import store_steps

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
    """Return a store with rows in every table and state, whose newest events were purged."""
    store = await Store.open(store_url)
    people = [world.user("created", user, name=f"n{user}") for user in range(USERS)]
    await store.store_events([*people, world.trip("created")], NOW)
    await store_steps.have_applied(store)
    await store.store_events([world.user("deleted", 4, at=1)], NOW)
    await store_steps.have_applied(store, closes_accounts=True)
    await store.store_events([world.membership("created", 0, user) for user in range(USERS)], NOW)
    await store.store_events([world.user("deleted", 3, at=1)], NOW)
    await store_steps.have_refused(store)
    await store_steps.begin_replay(store, Criteria())
    await store.store_events([world.membership("deleted", 1, at=2)], NOW)
    await store_steps.have_applied(store)
    await store.store_events([world.user("updated", 5, at=2, name="other")], NOW)
    await store.write_heartbeat(NOW)
    await store.close()
    engine = open_engine(read_store_url(store_url))
    with engine.begin() as connection:
        last = connection.execute(select(func.max(events.c.sequence))).scalar_one()
        connection.execute(delete(events).where(events.c.sequence > last - 3))
    engine.dispose()
    return store_url


async def test_copy_has_every_row_and_continues_the_sequences_of_the_source(
    source_url: str, target_url: str, world: World
) -> None:
    copy(source_url, target_url)

    assert count_rows(target_url) == count_rows(source_url)
    receipts, backlogs, next_events = [], [], []
    for url in (source_url, target_url):
        store = await Store.open(url)
        backlogs.append(await store.read(backlog_queries.measure_backlog, NOW))
        again = world.user("created", 7, name="n7")
        receipts.append(await store.store_events([again], NOW))
        found = await store.read(event_queries.find_event, again.event_id)
        assert found is not None
        # Greater than the sequences of purged events, too.
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
    assert ends == dict.fromkeys(("copying", "verifying"), (total, total))


@pytest.mark.parametrize("step", ["copying", "verifying"])
def test_copy_that_is_killed_leaves_the_target_empty_and_can_be_repeated(
    source_url: str, target_url: str, tmp_path: Path, step: str
) -> None:
    script = (
        "import os, signal, sys\n"
        "from app.store.store_copy import copy_store\n"
        "def report(step, done, total):\n"
        f"    if step == {step!r} and done > 20: os.kill(os.getpid(), signal.SIGKILL)\n"
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
    assert set(count_rows(target_url).values()) == {0}
    copy(source_url, target_url)
    assert count_rows(target_url) == count_rows(source_url)


def test_copy_into_a_store_with_events_is_refused(source_url: str, target_url: str) -> None:
    copy(source_url, target_url)
    with pytest.raises(ConfigurationInvalid, match="--to names a store that is not empty"):
        copy(source_url, target_url)


async def test_copy_of_a_store_in_use_is_refused(source_url: str, target_url: str) -> None:
    upgrade_store(target_url)
    store = await Store.open(source_url)
    try:
        if store.replicas is not None:
            assert await store.replicas.run(lease.acquire_lease, "host/1", 60)
        with pytest.raises(ConfigurationInvalid, match="--from names a store that"):
            copy(source_url, target_url)
        with pytest.raises(ConfigurationInvalid, match="--to names a store that"):
            copy(target_url, source_url)
    finally:
        await store.close()


def test_copy_of_a_store_that_receives_meanwhile_is_refused(
    source_url: str, target_url: str
) -> None:
    if read_store_url(source_url).get_backend_name() == "sqlite":
        # The lock of the file rules it out.
        with (
            pytest.raises(ConfigurationInvalid, match="another relay"),
            hold_store_lock(read_store_url(source_url)),
        ):
            copy(source_url, target_url)
        return

    def receive(what: str, done: int, total: int) -> None:
        if what == "verifying" and done == total:
            change(source_url, "SELECT nextval('events_sequence_seq')")

    with pytest.raises(CopyFailed, match="received events while"):
        copy_store(source_url, target_url, report=receive)
    assert set(count_rows(target_url).values()) == {0}


def test_copy_of_a_missing_file_is_refused_without_creating_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="--from names no store"):
        copy(f"sqlite:///{tmp_path}/missing.db", f"sqlite:///{tmp_path}/target.db")
    assert list(tmp_path.glob("missing.db*")) == []


def test_copy_of_another_version_is_refused(tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    upgrade_store(other)
    change(other, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationInvalid, match="run `relay migrate` on it first"):
        copy(other, f"sqlite:///{tmp_path}/target.db")


def test_copy_onto_itself_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.db"
    upgrade_store(url)
    with pytest.raises(ConfigurationInvalid, match="the same store"):
        copy(url, url)
    with pytest.raises(ConfigurationInvalid, match="--to names a store that another relay"):
        copy(url, f"sqlite:///{tmp_path}/../{tmp_path.name}/relay.db")


def change(url: str, statement: str) -> None:
    engine = open_engine(read_store_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
