"""Group commit: what it promises when operations or the disk fail."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from app.domain.errors import StoreUnavailable
from app.store.engine import open_engine
from app.store.group_commit import GroupCommit, perform
from app.store.store_url import read_store_url


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = open_engine(read_store_url(f"sqlite:///{tmp_path}/relay.db"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)"))
    return engine


@pytest.fixture
async def commits(engine: Engine) -> AsyncIterator[GroupCommit]:
    commits = GroupCommit(engine, perform)
    yield commits
    await commits.close()
    engine.dispose()


@dataclass(frozen=True)
class Insert:
    """Writes a number, then fails if it is told to."""

    n: int
    fail: bool = False

    def __call__(self, connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": self.n})
        if self.fail:
            raise LookupError(f"no {self.n}")
        return self.n


class Authenticator:
    """Holds the writer until opened, so that what comes after it forms one group."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(60)


def read_numbers(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT n FROM numbers ORDER BY n")).scalars())


async def run_as_one_group(
    commits: GroupCommit, operations: Sequence[Callable[[Connection], object]]
) -> list[object]:
    gate = Authenticator()
    waiting = asyncio.ensure_future(commits.submit(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    running = [asyncio.ensure_future(commits.submit(operation)) for operation in operations]
    await asyncio.sleep(0)
    gate.opened.set()
    await waiting
    return list(await asyncio.gather(*running, return_exceptions=True))


async def test_group_shares_one_transaction(commits: GroupCommit, engine: Engine) -> None:
    seen: list[tuple[int, list[int]]] = []

    def insert_and_look(connection: Connection) -> None:
        connection.execute(text("INSERT INTO numbers VALUES (NULL)"))
        own = connection.execute(text("SELECT COUNT(*) FROM numbers")).scalar_one()
        seen.append((own, read_numbers(engine)))

    await run_as_one_group(commits, [insert_and_look] * 50)
    # Each operation sees the writes of those before it; other connections see none.
    assert seen == [(count, []) for count in range(1, 51)]
    assert len(read_numbers(engine)) == 50


async def test_group_with_a_failing_operation_commits_all_others(
    commits: GroupCommit, engine: Engine
) -> None:
    operations = [Insert(n, fail=n == 3) for n in range(6)]
    results = await run_as_one_group(commits, operations)
    assert [r for r in results if not isinstance(r, BaseException)] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], LookupError)
    assert read_numbers(engine) == [0, 1, 2, 4, 5]
    assert commits.failure is None


async def test_group_with_a_broken_constraint_commits_all_others(
    commits: GroupCommit, engine: Engine
) -> None:
    results = await run_as_one_group(commits, [Insert(1), Insert(1), Insert(2)])
    assert results[0] == 1
    assert isinstance(results[1], IntegrityError)
    assert results[2] == 2
    assert read_numbers(engine) == [1, 2]


async def test_commit_that_fails_answers_unavailable_stores_nothing_and_recovers(
    commits: GroupCommit, engine: Engine
) -> None:
    def fill_the_disk(connection: Connection) -> None:
        connection.execute(text("PRAGMA max_page_count = 1"))
        connection.execute(text("CREATE TABLE more (blob)"))

    with pytest.raises(StoreUnavailable):
        await commits.submit(fill_the_disk)
    failures = [commits.failure]
    # The connection was thrown away, and its bound with it.
    assert await commits.submit(Insert(7)) == 7
    failures.append(commits.failure)
    assert failures == ["database or disk is full", None]
    assert read_numbers(engine) == [7]


async def test_commit_failures_are_logged_once_when_they_begin_and_end(
    commits: GroupCommit, caplog: pytest.LogCaptureFixture
) -> None:
    def fill_the_disk(connection: Connection) -> None:
        connection.execute(text("PRAGMA max_page_count = 1"))
        connection.execute(text("CREATE TABLE more (blob)"))

    caplog.set_level(logging.INFO)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await commits.submit(fill_the_disk)
    await commits.submit(Insert(1))
    await commits.submit(Insert(2))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "the store cannot commit: database or disk is full"),
        ("INFO", "the store commits again"),
    ]


async def test_close_commits_the_waiting_operations(engine: Engine) -> None:
    commits = GroupCommit(engine, perform)
    running = [asyncio.ensure_future(commits.submit(Insert(n))) for n in range(100)]
    await asyncio.sleep(0)
    await commits.close()
    assert await asyncio.gather(*running) == list(range(100))
    with pytest.raises(StoreUnavailable):
        await commits.submit(Insert(1000))
    engine.dispose()


async def test_caller_that_gives_up_does_not_affect_its_group(
    commits: GroupCommit, engine: Engine
) -> None:
    gate = Authenticator()
    waiting = asyncio.ensure_future(commits.submit(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    gone = asyncio.ensure_future(commits.submit(Insert(1)))
    stays = asyncio.ensure_future(commits.submit(Insert(2)))
    await asyncio.sleep(0)
    gone.cancel()
    gate.opened.set()
    await waiting
    assert await stays == 2
    assert read_numbers(engine) == [1, 2]


async def test_commit_is_observed_once_for_its_group_and_not_if_it_fails(engine: Engine) -> None:
    observed: list[float] = []
    commits = GroupCommit(engine, perform, observe=observed.append)
    # The first holds the writer, and the others form one group.
    await run_as_one_group(commits, [Insert(n) for n in range(50)])
    assert len(observed) == 2
    assert min(observed) >= 0
    with pytest.raises(LookupError):
        await commits.submit(Insert(99, fail=True))
    assert len(observed) == 2
    await commits.close()
    engine.dispose()
