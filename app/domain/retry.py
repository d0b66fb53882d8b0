"""When to try again: backoff, the breaker, and the fate of one refused entity. Pure arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.entities import EntityState, PendingEntity
from app.domain.failures import Failure, FailureKind
from app.domain.instants import Instant, after, seconds_between

Jitter = Callable[[], float]
"""Gives a number from 0.0 up to but not including 1.0, as `random.random` does."""

BACKOFF_FIRST_SECONDS: Final = 0.5
BACKOFF_LIMIT_SECONDS: Final = 60.0
# A date far ahead, by a proxy with a wrong clock, must not hold removals back until a restart.
RETRY_AFTER_LIMIT_SECONDS: Final = 900.0
OPEN_AFTER_FAILURES: Final = 3
CONTESTED_ATTEMPTS: Final = 10
PARENT_WAIT_LIMIT_SECONDS: Final = 24 * 3600.0


def backoff_seconds(failures: int, jitter: float) -> float:
    """Give the wait after so many failures in a row: exponential, with full jitter.

    Args:
        failures: at least 1.
        jitter: 0.0 to 1.0.
    """
    # The exponent is bounded before it is used: 2.0 ** 1100 overflows.
    ceiling = BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 16)
    return jitter * min(ceiling, BACKOFF_LIMIT_SECONDS)


class BreakerState(StrEnum):
    """Whether Supabase is written to."""

    CLOSED = "closed"
    OPEN = "open"


class Breaker:
    """Holds everything back while Supabase answers nobody, and lets single probes through.

    While it is open, the dispatcher writes one entity at a time: a probe.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._retry_at: Instant | None = None
        self._last: Failure | None = None

    @property
    def state(self) -> BreakerState:
        """Open once failures repeat, or at the first that only an operator can mend."""
        if self._last is None:
            return BreakerState.CLOSED
        needs_operator = self._last.kind is not FailureKind.OUTAGE
        if needs_operator or self._failures >= OPEN_AFTER_FAILURES:
            return BreakerState.OPEN
        return BreakerState.CLOSED

    @property
    def last_failure(self) -> Failure | None:
        """What stands in the way; None while Supabase answers."""
        return self._last

    def seconds_to_wait(self, now: Instant) -> float:
        """Give how long to leave Supabase alone; 0.0 when it may be tried."""
        return 0.0 if self._retry_at is None else max(0.0, seconds_between(now, self._retry_at))

    def record_success(self) -> None:
        """Supabase has answered, if only to refuse a row."""
        self._failures, self._retry_at, self._last = 0, None, None

    def record_failure(self, failure: Failure, now: Instant, jitter: float) -> None:
        """Supabase has not served anybody."""
        self._failures += 1
        self._last = failure
        # What the server asks for is a floor; a tenth more keeps the relays apart that it told so.
        asked = min(failure.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        floor = asked * (1.0 + 0.1 * jitter)
        self._retry_at = after(now, max(floor, backoff_seconds(self._failures, jitter)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an entity that Supabase refused.

    Attributes:
        state: pending (tried again) or dead.
        attempts: refusals so far.
        due_at: when it is tried again.
        awaits_parent: whether the arrival of its parent makes it due at once.
        waiting_since: since when it has waited for its parent.
    """

    state: EntityState
    attempts: int
    due_at: Instant
    awaits_parent: bool
    waiting_since: Instant | None


def judge_refusal(entity: PendingEntity, failure: Failure, now: Instant, jitter: float) -> Verdict:
    """Decide between another attempt and death, for a failure that is this entity's own.

    Raises:
        ValueError: the failure is one that stops everything; it is nobody's own.
    """
    attempts = entity.attempts + 1
    retry_at = after(now, backoff_seconds(attempts, jitter))
    match failure.kind:
        case FailureKind.PARENT_MISSING:
            since = now if entity.waiting_since is None else entity.waiting_since
            expired = seconds_between(since, now) >= PARENT_WAIT_LIMIT_SECONDS
            state = EntityState.DEAD if expired else EntityState.PENDING
            return Verdict(
                state, attempts, retry_at, awaits_parent=not expired, waiting_since=since
            )
        case FailureKind.CONTESTED | FailureKind.OURS:
            spent = attempts >= CONTESTED_ATTEMPTS
            state = EntityState.DEAD if spent else EntityState.PENDING
            return Verdict(state, attempts, retry_at, awaits_parent=False, waiting_since=None)
        case FailureKind.REFUSED:
            return Verdict(
                EntityState.DEAD, attempts, retry_at, awaits_parent=False, waiting_since=None
            )
        case _:
            raise ValueError(f"{failure.kind} stops everything and is no entity's own")
