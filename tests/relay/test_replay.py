"""Replays in the background: they resume after trouble and fail one by one."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.clocks import Clocks
from app.domain.criteria import Criteria
from app.domain.entities import EventStatus
from app.domain.events import EventType
from app.domain.history import Replay, ReplayId, ReplayStatus
from app.domain.instants import MICROSECONDS_PER_SECOND
from app.relay.replay import Replayer
from app.store.store import Store
from tests.api.relay_harness import full_disk
from tests.histories import NOW, World
from tests.store.store_steps import advance_replay, begin_replay, have_applied, look_at

PATIENCE_SECONDS = 60.0
# Three windows, of 2,000 each.
TRIPS = 5_000


@pytest.fixture
def store(sqlite_store: Store) -> Store:
    return sqlite_store


WAITING = "replays make no progress"


@pytest.fixture
async def woken() -> asyncio.Event:
    """Set whenever the dispatcher is woken."""
    return asyncio.Event()


@pytest.fixture
async def replayer(store: Store, woken: asyncio.Event) -> Replayer:
    return Replayer(
        store,
        clocks=Clocks(lambda: NOW / MICROSECONDS_PER_SECOND),
        wake_dispatcher=woken.set,
    )


@contextlib.asynccontextmanager
async def running(replayer: Replayer) -> AsyncIterator[None]:
    task = asyncio.create_task(replayer.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def fill(store: Store, count: int = TRIPS) -> None:
    await store.store_events([World().trip("created") for _ in range(count)], NOW)
    await have_applied(store)


async def watch(store: Store, replay_id: ReplayId, is_awaited: Callable[[Replay], bool]) -> Replay:
    """Poll a replay until the condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await look_at(store, replay_id)
            if is_awaited(found):
                return found


def has_ended(replay: Replay) -> bool:
    return replay.status is not ReplayStatus.RUNNING


async def test_replayer_resumes_a_replay_of_an_earlier_run(
    store: Store, replayer: Replayer, woken: asyncio.Event
) -> None:
    await fill(store)
    begun = await begin_replay(store, Criteria())
    await advance_replay(store, begun.number, NOW, 1000)
    async with running(replayer):
        ended = await watch(store, begun.replay_id, has_ended)
    assert (ended.status, ended.marked, ended.waiting) == (ReplayStatus.COMPLETED, TRIPS, TRIPS)
    assert woken.is_set()


async def test_replayer_stopped_in_the_middle_is_resumed_by_the_next_run(
    store: Store, replayer: Replayer
) -> None:
    await fill(store)
    begun = await begin_replay(store, Criteria(types=(EventType.TRIP_CREATED,)))
    async with running(replayer):
        await watch(store, begun.replay_id, lambda replay: replay.marked > 0)
    async with running(replayer):
        ended = await watch(store, begun.replay_id, has_ended)
    assert (ended.status, ended.marked, ended.waiting) == (ReplayStatus.COMPLETED, TRIPS, TRIPS)


async def test_replayer_with_a_full_disk_resumes_afterwards(
    store: Store, replayer: Replayer, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store)
    begun = await begin_replay(store, Criteria())
    await advance_replay(store, begun.number, NOW, 1000)
    with full_disk():
        async with running(replayer):
            found = await watch(store, begun.replay_id, lambda _: WAITING in caplog.text)
            assert (found.status, found.marked) == (ReplayStatus.RUNNING, 1000)
            # Retries are not logged again.
            await asyncio.sleep(2.5)
    told = [each for each in caplog.records if each.name == "app.relay.replay"]
    assert [each.levelname for each in told if WAITING in each.getMessage()] == ["WARNING"]
    assert all(each.exc_info is None for each in told)
    async with running(replayer):
        ended = await watch(store, begun.replay_id, has_ended)
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, TRIPS)


async def test_replayer_with_a_broken_replay_fails_it_and_runs_the_next(
    store: Store, store_path: Path, replayer: Replayer, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store, 10)
    broken = await begin_replay(store, Criteria())
    # As a bug or a manual edit may leave it.
    with closing(sqlite3.connect(store_path)) as connection:
        connection.execute(
            'UPDATE replays SET filter = \'{"status": "unheard-of"}\' WHERE number = ?',
            (broken.number,),
        )
        connection.commit()
    async with running(replayer):
        after_it = await replayer.replay(Criteria(), requested_by=None)
    assert (after_it.status, after_it.marked) == (ReplayStatus.COMPLETED, 10)
    found = await look_at(store, broken.replay_id)
    assert (found.status, found.marked) == (ReplayStatus.FAILED, 0)
    assert f"replay {broken.number} failed" in caplog.text


async def test_replayer_given_fifty_replays_at_once_completes_all(
    store: Store, replayer: Replayer
) -> None:
    await fill(store, 100)
    async with running(replayer):
        given = await asyncio.gather(
            *(replayer.replay(Criteria(), requested_by=f"ops-{n}") for n in range(50))
        )
        for each in given:
            await watch(store, each.replay_id, has_ended)
    found = [await look_at(store, each.replay_id) for each in given]
    assert len({each.number for each in found}) == 50
    assert all(each.status is ReplayStatus.COMPLETED and each.marked == 100 for each in found)
    # Each replay took over the entities of the one before; those of the last still wait.
    last = max(found, key=lambda each: each.number)
    assert {each.superseded for each in found if each is not last} == {100}
    assert (last.waiting, last.superseded) == (100, 0)
    await have_applied(store)
    assert (await look_at(store, last.replay_id)).applied == 100


async def test_replayer_completes_a_replay_while_events_arrive(
    store: Store, replayer: Replayer
) -> None:
    await fill(store)
    has_stopped = False

    async def send() -> int:
        count = 0
        while not has_stopped:
            await store.store_events([World().trip("created")], NOW)
            count += 1
        return count

    async with running(replayer), asyncio.TaskGroup() as group:
        sending = group.create_task(send())
        begun = await replayer.replay(
            Criteria(types=(EventType.TRIP_CREATED,), status=EventStatus.APPLIED),
            requested_by=None,
        )
        ended = await watch(store, begun.replay_id, has_ended)
        has_stopped = True
    assert sending.result() > 0
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, TRIPS)


async def test_replayer_stores_only_the_given_criteria(replayer: Replayer) -> None:
    async with running(replayer):
        given = await replayer.replay(Criteria(since=NOW), requested_by="jane")
    assert (given.criteria, given.requested_by) == (f'{{"since": {NOW}}}', "jane")
