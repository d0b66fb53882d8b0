"""The load's process: `python -m benchmarks.load_process`.

It reads a plan from standard input and writes what it saw to standard output, as JSON each.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter, deque
from dataclasses import asdict
from typing import cast

import uvloop

from benchmarks.load import Plan, Seen
from benchmarks.pacing import Pace, pick_quantile
from benchmarks.requests import draw_memberships, make_batches, make_requests
from benchmarks.world import name_membership

_LAST_ANSWER_SECONDS = 30.0
# More than a relay handles on one processor; a run of a faster server ends sooner.
_REQUESTS_PER_SECOND = 30_000
_BATCHES_PER_SECOND = 150
_TICK_SECONDS = 0.001


class _Connection(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._counted_from = 0.0
        self._is_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, counted_from: float) -> None:
        self._counted_from = counted_from
        if self._transport is not None:
            self._transport.write(request)

    def close(self) -> None:
        self._is_done = True
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        start = head.lower().index(b"content-length:") + len(b"content-length:")
        if len(rest) < int(head[start:].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        self._run.latencies.append(time.monotonic() - self._counted_from)
        self._run.statuses[head[9:12].decode()] += 1
        self._run.take_turn(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_done:
            self._run.statuses["closed" if error is None else type(error).__name__] += 1
        self._run.open_connections -= 1
        if not self._run.open_connections:
            self._run.done.set()


class _Run:
    """What the connections of one run share."""

    def __init__(self, requests: list[bytes], connections: int) -> None:
        self.requests = requests
        self.connections = [_Connection(self) for _ in range(connections)]
        self.open_connections = connections
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.started_at = 0.0
        self.done = asyncio.Event()

    def start(self) -> None:
        """Send what is sent first."""
        raise NotImplementedError

    def take_turn(self, connection: _Connection) -> None:
        """Decide what a connection does after its response."""
        raise NotImplementedError


class _ClosedLoop(_Run):
    """Every connection sends its next request as soon as its last has a response."""

    def __init__(self, requests: list[bytes], plan: Plan) -> None:
        super().__init__(requests, plan.connections)
        self._remaining = iter(requests)
        self._seconds = plan.seconds

    def start(self) -> None:
        for connection in self.connections:
            self.take_turn(connection)

    def take_turn(self, connection: _Connection) -> None:
        now = time.monotonic()
        is_over = now >= self.started_at + self._seconds
        request = None if is_over else next(self._remaining, None)
        if request is None:
            connection.close()
        else:
            connection.send(request, now)


class _OpenLoop(_Run):
    """Requests go out when they are due, on the connection that has waited longest for one."""

    def __init__(self, requests: list[bytes], plan: Plan, pace: Pace) -> None:
        super().__init__(requests, plan.connections)
        self._pace = pace
        self._idle = deque(self.connections)
        self._due = 0
        self._sent = 0

    def start(self) -> None:
        self._due = self._pace.count_due(time.monotonic() - self.started_at)
        self._hand_out()
        if self._due < self._pace.count:
            asyncio.get_running_loop().call_later(_TICK_SECONDS, self.start)

    def take_turn(self, connection: _Connection) -> None:
        self._idle.append(connection)
        self._hand_out()
        if self._sent == self._pace.count and len(self._idle) == len(self.connections):
            for idle in self.connections:
                idle.close()

    def _hand_out(self) -> None:
        while self._sent < self._due and self._idle:
            due_at = self.started_at + self._pace.due_after(self._sent)
            self._idle.popleft().send(self.requests[self._sent], due_at)
            self._sent += 1


def _make_run(plan: Plan) -> _Run:
    if plan.rate is not None:
        pace = Pace(plan.rate, plan.seconds)
        return _OpenLoop(_make_requests(plan, pace.count), plan, pace)
    most = _BATCHES_PER_SECOND if plan.batch_events else _REQUESTS_PER_SECOND
    count = round(most * plan.seconds) if plan.requests is None else plan.requests
    return _ClosedLoop(_make_requests(plan, count), plan)


def _make_requests(plan: Plan, count: int) -> list[bytes]:
    events = count * (plan.batch_events or 1)
    if plan.first_membership is None:
        memberships = draw_memberships(events)
    else:
        first = plan.first_membership
        memberships = map(name_membership, range(first, first + events))
    if plan.batch_events is not None:
        return make_batches(memberships, plan.batch_events)
    return make_requests(memberships, removal=plan.removal, random_ids=plan.random_ids)


async def _run_plan(plan: Plan) -> Seen:
    run = _make_run(plan)
    loop = asyncio.get_running_loop()
    for number, connection in enumerate(run.connections):
        port = plan.ports[number % len(plan.ports)]
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]
    # A collection here would count as the server's.
    gc.disable()
    worked = time.process_time()
    run.started_at = time.monotonic()
    run.start()
    async with asyncio.timeout(plan.seconds + _LAST_ANSWER_SECONDS):
        await run.done.wait()
    seconds = time.monotonic() - run.started_at
    worked = time.process_time() - worked
    latencies = sorted(run.latencies)
    return Seen(
        requests=len(latencies),
        events=len(latencies) * (plan.batch_events or 1),
        started_at=run.started_at,
        seconds=seconds,
        processor_seconds=worked,
        statuses=dict(run.statuses),
        p50_milliseconds=pick_quantile(latencies, 0.5) * 1000,
        p99_milliseconds=pick_quantile(latencies, 0.99) * 1000,
    )


def main() -> None:
    """Run the plan on standard input."""
    plan = Plan(**json.loads(sys.stdin.read()))
    os.sched_setaffinity(0, {plan.processor})
    seen = uvloop.run(_run_plan(plan))
    sys.stdout.write(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
