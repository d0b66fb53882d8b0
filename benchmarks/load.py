"""The load: a process of its own, on a processor of its own, that only writes bytes and counts.

`python -m benchmarks.load` reads a plan from standard input and writes what it saw to standard
output, as JSON each. On every connection a request is sent as soon as the last is answered.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

from benchmarks.requests import make_requests

# More than any of the servers here answers on one processor.
_REQUESTS_PER_SECOND = 30_000
_LAST_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        ports: of 127.0.0.1; connections are dealt out to them in turn.
        connections: in all.
        seconds: how long.
        processor: to run on.
    """

    ports: tuple[int, ...]
    connections: int
    seconds: float
    processor: int


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        requests: answered.
        seconds: from the first byte sent to the last answer.
        statuses: how many answers of each.
        p50_milliseconds: half of the answers took no longer.
        p99_milliseconds: all but one in a hundred took no longer.
    """

    requests: int
    seconds: float
    statuses: dict[str, int] = field(default_factory=dict)
    p50_milliseconds: float = 0.0
    p99_milliseconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


def run_load(plan: Plan) -> Seen:
    """Have the load's process run a plan.

    Raises:
        RuntimeError: something was answered with another status than 202.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(plan)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=plan.seconds + 120,
    )
    seen = Seen(**json.loads(done.stdout))
    if seen.statuses.keys() != {"202"}:
        raise RuntimeError(f"not every request was accepted: {seen.statuses}")
    return seen


class _Run:
    """What the connections of one run share."""

    def __init__(self, requests: Iterator[bytes], seconds: float) -> None:
        self.requests = requests
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.open = 0
        self.done = asyncio.Event()
        self.ends_at = time.perf_counter() + seconds


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)
        self._run.open += 1

    def send(self) -> None:
        request = next(self._run.requests, None)
        now = time.perf_counter()
        if self._transport is None:
            return
        if request is None or now >= self._run.ends_at:
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        start = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(rest) < int(head[start:].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        self._run.statuses[head[9:12].decode()] += 1
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._run.statuses[type(error).__name__] += 1
        self._run.open -= 1
        if not self._run.open:
            self._run.done.set()


async def _run_plan(plan: Plan) -> Seen:
    requests = make_requests(round(_REQUESTS_PER_SECOND * plan.seconds))
    loop = asyncio.get_running_loop()
    run = _Run(iter(requests), plan.seconds)
    connections = []
    for number in range(plan.connections):
        port = plan.ports[number % len(plan.ports)]
        _, connection = await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port)
        connections.append(connection)
    started = time.perf_counter()
    run.ends_at = started + plan.seconds
    for connection in connections:
        connection.send()
    async with asyncio.timeout(plan.seconds + _LAST_ANSWER_SECONDS):
        await run.done.wait()
    seconds = time.perf_counter() - started
    latencies = sorted(run.latencies)
    return Seen(
        requests=len(latencies),
        seconds=seconds,
        statuses=dict(run.statuses),
        p50_milliseconds=latencies[len(latencies) // 2] * 1000,
        p99_milliseconds=latencies[len(latencies) * 99 // 100] * 1000,
    )


def main() -> None:
    """Run the plan on standard input."""
    plan = Plan(**json.loads(sys.stdin.read()))
    os.sched_setaffinity(0, {plan.processor})
    seen = uvloop.run(_run_plan(plan))
    sys.stdout.write(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
