"""Batches: their contents, their order, and the results of their callers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from app.domain.errors import StoreUnavailable
from app.store.batching_worker import BatchingWorker

MAXIMUM_SIZE = 100
# Above this size, a batch is handed over at once (`app.store.batching_worker`).
ENOUGH_SIZE = 64
FAULTY = 99


class Groups:
    """Records each batch of a worker, and blocks it if told to."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.entered = threading.Event()
        self.may_continue = threading.Event()
        self.may_continue.set()
        self.worker = BatchingWorker("groups", self._process, maximum_size=MAXIMUM_SIZE)
        self.submit = self.worker.submit
        self.close = self.worker.close

    def _process(self, batch: Sequence[int]) -> Sequence[object]:
        self.entered.set()
        assert self.may_continue.wait(60)
        if batch == [FAULTY]:
            raise LookupError("not at home")
        self.done.append(list(batch))
        return batch


@pytest.fixture
async def groups() -> AsyncIterator[Groups]:
    groups = Groups()
    yield groups
    await groups.close()


async def hold(groups: Groups) -> asyncio.Future[object]:
    """Keep the thread busy with a group of its own."""
    groups.may_continue.clear()
    held = groups.submit(-1)
    await asyncio.to_thread(groups.entered.wait, 60)
    return held


async def submit_until_handed_over(groups: Groups) -> int:
    """Submit one after the other until a group is begun, and say how many that took."""
    groups.entered.clear()
    submitted: list[asyncio.Future[object]] = []
    while not groups.entered.is_set():
        submitted.append(groups.submit(len(submitted)))
        assert len(submitted) < 100_000, "it waits for the last of them"
        await asyncio.sleep(0)
    await asyncio.gather(*submitted)
    return len(submitted)


async def test_work_that_arrives_in_the_same_turn_is_processed_together(
    groups: Groups,
) -> None:
    first = groups.submit(1)
    await asyncio.sleep(0)
    second = groups.submit(2)
    assert list(await asyncio.gather(first, second)) == [1, 2]
    assert groups.done == [[1, 2]]


async def test_work_that_arrives_alone_is_not_delayed(groups: Groups) -> None:
    assert [await groups.submit(number) for number in range(3)] == [0, 1, 2]
    assert groups.done == [[0], [1], [2]]


async def test_work_that_keeps_arriving_is_handed_over_once_it_is_enough(groups: Groups) -> None:
    count = await submit_until_handed_over(groups)
    assert ENOUGH_SIZE <= len(groups.done[0]) <= MAXIMUM_SIZE
    assert [number for group in groups.done for number in group] == list(range(count))


async def test_work_of_returning_callers_is_handed_over_once_half_of_them_returned(
    groups: Groups,
) -> None:
    await asyncio.gather(*(groups.submit(number) for number in range(20)))
    await submit_until_handed_over(groups)
    assert groups.done[1] == list(range(10))


async def test_work_of_half_of_the_waiting_and_returning_callers_is_handed_over(
    groups: Groups,
) -> None:
    held = await hold(groups)
    rest = [groups.submit(number) for number in range(7)]
    await asyncio.sleep(0)
    groups.entered.clear()
    groups.may_continue.set()
    await held
    await asyncio.sleep(0)
    # One was answered and seven are waiting, which is more than half.
    late = [groups.submit(number) for number in range(7, 9)]
    await asyncio.gather(*rest, *late)
    assert groups.done[:2] == [[-1], list(range(7))]


async def test_work_that_arrives_during_a_batch_forms_the_next(groups: Groups) -> None:
    held = await hold(groups)
    rest = [groups.submit(number) for number in range(5)]
    for _ in range(5):
        await asyncio.sleep(0)
    groups.may_continue.set()
    await asyncio.gather(held, *rest)
    assert groups.done == [[-1], [0, 1, 2, 3, 4]]


async def test_batch_of_the_maximum_size_leaves_the_rest_to_the_next(
    groups: Groups,
) -> None:
    held = await hold(groups)
    rest = [groups.submit(number, size=40) for number in range(7)]
    await asyncio.sleep(0)
    groups.may_continue.set()
    await asyncio.gather(held, *rest)
    # The one that reaches the maximum is the last.
    assert groups.done == [[-1], [0, 1, 2], [3, 4, 5], [6]]


async def test_close_processes_all_waiting_work_in_order(groups: Groups) -> None:
    held = await hold(groups)
    rest = [groups.submit(number, size=60) for number in range(5)]
    await asyncio.sleep(0)
    groups.may_continue.set()
    await groups.close()
    assert await asyncio.gather(held, *rest) == [-1, 0, 1, 2, 3, 4]
    assert groups.done == [[-1], [0, 1], [2, 3], [4]]


async def test_close_processes_work_that_was_not_handed_over(groups: Groups) -> None:
    last = groups.submit(1)
    await asyncio.sleep(0)
    await groups.close()
    assert await last == 1
    with pytest.raises(StoreUnavailable):
        await groups.submit(2)


async def test_callback_that_raises_does_not_affect_others(groups: Groups) -> None:
    def refuse(_: asyncio.Future[object]) -> None:
        raise LookupError("not at home")

    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    groups.submit(1).add_done_callback(refuse)
    assert await groups.submit(2) == 2
    assert groups.done == [[1, 2]]
    assert await groups.submit(3) == 3
    assert [type(each["exception"]) for each in reported] == [LookupError]


async def test_caller_that_gives_up_does_not_affect_others(groups: Groups) -> None:
    gone, stays = groups.submit(1), groups.submit(2)
    gone.cancel()
    assert await stays == 2


async def test_batch_that_raises_fails_its_callers_and_no_later_ones(
    groups: Groups, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LookupError):
        await groups.submit(FAULTY)
    assert "a batch of 1 failed" in caplog.text
    assert await groups.submit(1) == 1
