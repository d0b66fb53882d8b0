"""When to try again: backoff, circuit breaker, request sizes, the fate of one row. Arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from app.domain.entities import EntityState, PendingEntity, Priority
from app.domain.failures import RequestFailure, RowFailure, RowFailureKind
from app.domain.instants import Instant, after, seconds_between

Jitter = Callable[[], float]
"""Gives a number from 0.0 up to but not including 1.0, as `random.random` does."""

BACKOFF_FIRST_SECONDS: Final = 0.5
BACKOFF_LIMIT_SECONDS: Final = 60.0
BUSY_LIMIT_SECONDS: Final = 5.0
ALONE_LIMIT_SECONDS: Final = 900.0
# A date far ahead, by a proxy with a wrong clock, must not hold revocations until a restart.
RETRY_AFTER_LIMIT_SECONDS: Final = 900.0
MAXIMUM_ATTEMPTS: Final = 10
REFERENCE_WAIT_LIMIT_SECONDS: Final = 24 * 3600.0


def backoff_seconds(failures: int, jitter: float, limit: float = BACKOFF_LIMIT_SECONDS) -> float:
    """Give the wait after so many failures in a row: exponential, with full jitter.

    Args:
        failures: at least 1.
        jitter: 0.0 to 1.0.
        limit: of the wait, in seconds.
    """
    # The exponent is bounded before it is used: 2.0 ** 1100 overflows.
    ceiling = BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 16)
    return jitter * min(ceiling, limit)


class BreakerState(StrEnum):
    """Whether Supabase is written to."""

    CLOSED = "closed"
    OPEN = "open"


class CircuitBreaker:
    """Open from a failed probe until one is answered. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._retry_at = 0.0
        self._last: RequestFailure | None = None

    @property
    def state(self) -> BreakerState:
        """Open while Supabase cannot be written to."""
        return BreakerState.CLOSED if self._last is None else BreakerState.OPEN

    @property
    def last_failure(self) -> RequestFailure | None:
        """Why it is open."""
        return self._last

    def seconds_to_wait(self, now: float) -> float:
        """Give how long to leave Supabase alone; 0.0 when it may be probed."""
        return max(0.0, self._retry_at - now)

    def close(self) -> None:
        """A probe was answered."""
        self._failures, self._retry_at, self._last = 0, 0.0, None

    def open(self, failure: RequestFailure, now: float, jitter: float) -> None:
        """A probe failed, or Supabase asked to be left alone for a while."""
        self._failures += 1
        self._last = failure
        asked = min(failure.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        # What the server asks for is a floor; a tenth more spreads the relays that it told so.
        floor = asked * (1.0 + 0.1 * jitter)
        self._retry_at = now + max(floor, backoff_seconds(self._failures, jitter))


class RequestLimit:
    """How many entities one kind of request may hold.

    A failed request lowers it at once and for the next requests; success doubles it again, up to
    half of what failed last. That bound is doubled after a while, to find out whether it still
    holds.

    Args:
        maximum: to start with, and never exceeded.
        single_after_failure: go down to one entity at once.
    """

    SPLIT: Final = 24
    """A failed request is split into about so many: each piece that fails may cost a timeout, and
    500 entities are narrowed down to one in two steps."""
    SUCCESSES_PER_TRIAL: Final = 32

    def __init__(self, maximum: int, *, single_after_failure: bool = False) -> None:
        self._maximum = maximum
        self._is_single = single_after_failure
        self._bound = maximum
        self._successes = 0
        self.value = maximum

    def record_success(self, size: int) -> None:
        """A request of this many entities was answered."""
        if size < self.value or self.value == self._maximum:
            return
        if self.value < self._bound:
            self.value = min(self.value * 2, self._bound)
            return
        self._successes += 1
        if self._successes >= self.SUCCESSES_PER_TRIAL:
            self._successes = 0
            self._bound = min(self._bound * 2, self._maximum)

    def record_failure(self, size: int) -> int:
        """Lower it after a request of this many failed; give the size of its pieces."""
        pieces = 1 if self._is_single else max(1, size // self.SPLIT)
        if size > 1 or self._is_single:
            self._bound = pieces if self._is_single else size // 2
            self.value = min(self.value, pieces)
            self._successes = 0
        return pieces


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What becomes of an entity that failed by itself.

    Attributes:
        state: pending (tried again) or dead.
        priority: the queue in which it waits.
        attempts: failures with the same code in a row.
        due_at: when it is tried again.
        awaits_parent: whether its parent makes it due at once when it is applied.
        waiting_since: since when it has failed with this code.
        request_limit: most entities of the requests that it may be part of.
    """

    state: EntityState
    priority: Priority
    attempts: int
    due_at: Instant
    awaits_parent: bool
    waiting_since: Instant
    request_limit: int | None


def decide_retry(
    entity: PendingEntity, failure: RowFailure, now: Instant, jitter: float
) -> RetryDecision:
    """Decide between another attempt and death, for a failure that is this entity's own."""
    attempts, since = _count(entity, failure.code, now)
    wait_seconds = backoff_seconds(attempts, jitter)
    priority = Priority(Priority.RETRIED_REVOCATION + entity.priority)
    is_dead = awaits_parent = False
    match failure.kind:
        case RowFailureKind.MISSING_REFERENCE:
            # With many that wait for one parent, all of them succeed together.
            priority = entity.priority
            awaits_parent = True
            is_dead = seconds_between(since, now) >= REFERENCE_WAIT_LIMIT_SECONDS
        case RowFailureKind.STILL_REFERENCED:
            is_dead = seconds_between(since, now) >= REFERENCE_WAIT_LIMIT_SECONDS
        case RowFailureKind.UNIQUE_CONFLICT | RowFailureKind.STRUCTURAL:
            is_dead = attempts >= MAXIMUM_ATTEMPTS
        case RowFailureKind.BUSY:
            wait_seconds = backoff_seconds(attempts, jitter, BUSY_LIMIT_SECONDS)
        case RowFailureKind.INCOMPLETE | RowFailureKind.REJECTED:
            is_dead = True
        case _:
            assert_never(failure.kind)
    return RetryDecision(
        EntityState.DEAD if is_dead else EntityState.PENDING,
        priority,
        attempts,
        after(now, wait_seconds),
        awaits_parent,
        since,
        entity.request_limit,
    )


def decide_retry_alone(
    entity: PendingEntity, failure: RequestFailure, now: Instant, jitter: float
) -> RetryDecision:
    """Postpone an entity whose request failed with nobody else in it. It is never dead.

    A revocation waits neither for the backlog nor for long: until it is applied there is access.
    """
    attempts, since = _count(entity, failure.code, now)
    priority, limit_seconds = Priority.ALONE, ALONE_LIMIT_SECONDS
    if entity.priority is Priority.REVOCATION:
        priority, limit_seconds = Priority.RETRIED_REVOCATION, BACKOFF_LIMIT_SECONDS
    return RetryDecision(
        EntityState.PENDING,
        priority,
        attempts,
        after(now, backoff_seconds(attempts, jitter, limit_seconds)),
        awaits_parent=False,
        waiting_since=since,
        request_limit=1,
    )


def _count(entity: PendingEntity, code: str, now: Instant) -> tuple[int, Instant]:
    """Give how often, and since when, the entity has failed with this code."""
    if entity.last_error_code != code or entity.waiting_since is None:
        return 1, now
    return entity.attempts + 1, entity.waiting_since


def latest_due_at(priority: Priority, now: Instant) -> Instant:
    """Give the latest time at which an entity can rightly be due.

    One that is further ahead was written by a clock that has been corrected since: it is due now.
    """
    limit = ALONE_LIMIT_SECONDS if priority is Priority.ALONE else BACKOFF_LIMIT_SECONDS
    return after(now, limit)
