"""One call at a time, with callers that wait for a bounded time."""

import asyncio

import pytest

from app.relay.single_flight import SingleFlight


class Call:
    """Counts how often it begins, and ends when the gate opens."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.gate.wait()
        return number


async def test_callers_during_a_call_share_its_result() -> None:
    call = Call()
    flight = SingleFlight(call, timeout_seconds=10)
    waiting = [asyncio.create_task(flight()) for _ in range(5)]
    await asyncio.sleep(0)
    call.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 5
    assert await flight() == 2


async def test_call_that_hangs_is_not_repeated_and_serves_later_callers() -> None:
    call = Call()
    flight = SingleFlight(call, timeout_seconds=0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await flight()
    assert call.begun == 1
    call.gate.set()
    assert await flight() == 1


async def test_call_that_fails_after_its_callers_left_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise LookupError

    flight = SingleFlight(fail, timeout_seconds=0.01)
    with pytest.raises(TimeoutError):
        await flight()
    gate.set()
    await asyncio.sleep(0.01)
    del flight
    assert caplog.records == []
