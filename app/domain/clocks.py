"""The clocks of one relay, which tests advance."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom

from app.domain.instants import Instant, from_seconds


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks, and the randomness of waits.

    Attributes:
        wall: Unix seconds; may step. Only for times that are stored or shown.
        monotonic: seconds of a clock that never steps, for durations.
        jitter: returns a random number from 0.0 up to but not including 1.0.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    # Without a state that threads and forked processes share.
    jitter: Callable[[], float] = SystemRandom().random

    def now(self) -> Instant:
        """Return the present instant by the wall clock."""
        return from_seconds(self.wall())
