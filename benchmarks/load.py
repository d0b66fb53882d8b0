"""The load: a separate process on a separate processor that only writes bytes and counts."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        ports: of 127.0.0.1; connections are dealt out to them in turn.
        connections: in all.
        seconds: how long.
        processor: to run on.
        rate: how many requests a second, answered or not; without it, the next on a connection
            goes out as soon as the last is answered.
        requests: how many in all, where that is not left to the time.
        batch_events: how many events each request has; without it, one goes to `POST /webhooks`.
        first_membership: of those of `benchmarks.world`, one after the other; without it, random
            ones of users and trips that nobody knows.
        removal: memberships end.
        random_ids: of events; without it, they grow, as the documented backend's do.
    """

    ports: tuple[int, ...]
    connections: int
    seconds: float
    processor: int
    rate: float | None = None
    requests: int | None = None
    batch_events: int | None = None
    first_membership: int | None = None
    removal: bool = False
    random_ids: bool = False


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        requests: answered.
        events: in them.
        started_at: by the machine's monotonic clock.
        seconds: from the first byte sent to the last answer.
        processor_seconds: that the load itself has worked for, once all requests were made.
        statuses: how many answers of each.
        p50_milliseconds: half of the answers took no longer.
        p99_milliseconds: all but one in a hundred took no longer.
    """

    requests: int
    events: int
    started_at: float
    seconds: float
    processor_seconds: float
    statuses: dict[str, int] = field(default_factory=dict)
    p50_milliseconds: float = 0.0
    p99_milliseconds: float = 0.0

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.events / self.seconds


def run_load(plan: Plan) -> Seen:
    """Have the load's process run a plan.

    Raises:
        RuntimeError: something was answered with another status than 202.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load_process"],
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
