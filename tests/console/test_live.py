"""The streams of a live fragment."""

import asyncio
from collections.abc import AsyncIterator

from app.console.live import STREAMS, LiveFragment
from tests.api.relay_harness import RunningRelay
from tests.console.browsing import Visitor


class Source:
    """Counts how often the fragment is computed."""

    def __init__(self) -> None:
        self.html = "<p>\none</p>"
        self.times = 0
        self.has_repeated = asyncio.Event()

    async def compute(self) -> str:
        self.times += 1
        if self.times == 5:
            self.has_repeated.set()
        return self.html


def follow(fragment: LiveFragment) -> AsyncIterator[str]:
    return fragment.follow(lambda: True)


async def test_stream_sends_the_fragment_again_when_it_has_changed() -> None:
    source = Source()
    stream = follow(LiveFragment(source.compute, interval_seconds=0.001))
    assert await anext(stream) == "data: <p>\ndata: one</p>\n\n"
    following = asyncio.ensure_future(anext(stream))
    await source.has_repeated.wait()
    assert not following.done()
    source.html = "two"
    assert await following == "data: two\n\n"


async def test_streams_share_one_computation() -> None:
    source = Source()
    fragment = LiveFragment(source.compute, interval_seconds=3600)
    assert len({await anext(follow(fragment)) for _ in range(10)}) == 1
    assert source.times == 1


async def test_silent_stream_sends_a_heartbeat() -> None:
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += 5.0
        return now

    stream = follow(LiveFragment(Source().compute, interval_seconds=0.0, monotonic=monotonic))
    assert (await anext(stream)).startswith("data:")
    assert await anext(stream) == ":\n\n"


async def test_stream_outlives_a_computation_that_takes_too_long() -> None:
    times = 0

    async def compute() -> str:
        nonlocal times
        times += 1
        if times == 1:
            raise TimeoutError
        return "one"

    stream = follow(LiveFragment(compute, interval_seconds=0.0))
    assert await anext(stream) == "data: one\n\n"


async def test_stream_ends_with_the_session() -> None:
    is_valid = True
    fragment = LiveFragment(Source().compute, interval_seconds=0.0)
    stream = fragment.follow(lambda: is_valid)
    await anext(stream)
    is_valid = False
    assert [each async for each in stream] == ["event: end\ndata:\n\n"]


async def test_flood_of_streams_is_bounded() -> None:
    fragment = LiveFragment(Source().compute)
    streams = [fragment.respond(lambda: True) for _ in range(STREAMS)]
    assert {stream.status_code for stream in streams} == {200}
    refused = fragment.respond(lambda: True)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")


async def test_stream_without_a_session_is_refused(relay: RunningRelay) -> None:
    response = await Visitor(relay).get("/console/now/stream", {"accept": "text/event-stream"})
    assert response.status_code == 401
