"""Retry decisions: whether and when to retry an entity that failed. Arithmetic only."""

from dataclasses import dataclass
from typing import Final, assert_never

from app.domain.entities import EntityState, PendingEntity, Priority
from app.domain.failures import RequestFailure, RowFailure, RowFailureKind
from app.domain.instants import Instant, after, seconds_between

BACKOFF_FIRST_SECONDS: Final = 0.5
BACKOFF_LIMIT_SECONDS: Final = 60.0
BUSY_LIMIT_SECONDS: Final = 5.0
ALONE_LIMIT_SECONDS: Final = 900.0
# A far date from a proxy with a wrong clock must not hold revocations until a restart.
RETRY_AFTER_LIMIT_SECONDS: Final = 900.0
MAXIMUM_ATTEMPTS: Final = 10
REFERENCE_WAIT_LIMIT_SECONDS: Final = 24 * 3600.0


def backoff_seconds(failures: int, jitter: float, limit: float = BACKOFF_LIMIT_SECONDS) -> float:
    """Compute an exponential backoff with full jitter.

    Args:
        failures: in a row, at least 1.
        jitter: 0.0 to 1.0.
        limit: of the backoff, in seconds.
    """
    # The exponent is bounded because 2.0 ** 1100 overflows.
    ceiling = BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 16)
    return jitter * min(ceiling, limit)


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The next state of an entity that failed by itself.

    Attributes:
        attempts: failures in a row with the same code.
        awaits_parent: whether the entity becomes due as soon as its parent is applied.
        waiting_since: since when the entity fails with this code.
        request_limit: see `PendingEntity`.
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
    """Decide whether to retry an entity after a failure of its own."""
    attempts, since = _count_attempts(entity, failure.code, now)
    wait_seconds = backoff_seconds(attempts, jitter)
    priority = entity.retry_priority
    is_dead = awaits_parent = False
    match failure.kind:
        case RowFailureKind.MISSING_REFERENCE:
            # All entities that wait for one parent succeed together, in one request.
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
    """Postpone an entity whose request failed without another entity in it. It never dies.

    A revocation skips the backlog and its backoff is short: until it is applied, access remains.
    """
    attempts, since = _count_attempts(entity, failure.code, now)
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


def _count_attempts(entity: PendingEntity, code: str, now: Instant) -> tuple[int, Instant]:
    """Return how often and since when the entity has failed with this code."""
    if entity.last_error_code != code or entity.waiting_since is None:
        return 1, now
    return entity.attempts + 1, entity.waiting_since


def latest_due_at(priority: Priority, now: Instant) -> Instant:
    """Return the latest time at which an entity can legitimately be due.

    If an entity is due later, a clock that ran ahead wrote that time: the entity is due now.
    """
    limit = ALONE_LIMIT_SECONDS if priority is Priority.ALONE else BACKOFF_LIMIT_SECONDS
    return after(now, limit)
