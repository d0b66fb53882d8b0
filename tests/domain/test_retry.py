"""When a failed entity is retried, and when it is dead."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import (
    EntityKey,
    EntityRef,
    EntityState,
    Kind,
    PendingEntity,
    Priority,
    Version,
)
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.domain.instants import Instant, after
from app.domain.retry import (
    RetryDecision,
    backoff_seconds,
    decide_retry,
    decide_retry_alone,
    latest_due_at,
)

NOW = Instant(1_767_323_045_000_000)
DAY_SECONDS = 24 * 3600.0
CODE = "23503"
PENDING, DEAD = EntityState.PENDING, EntityState.DEAD
jitters = st.floats(0, 1, exclude_max=True)


def make_entity(
    *, attempts: int = 0, waited_seconds: float = 0.0, code: str = CODE, kind: Kind = Kind.USER
) -> PendingEntity:
    """Make an entity with this many attempts, this code and this waiting time."""
    return PendingEntity(
        ref=EntityRef(kind, EntityKey("k")),
        version=Version(NOW, False, 1),
        row=None,
        revision=1,
        attempts=attempts,
        waiting_since=after(NOW, -waited_seconds) if attempts else None,
        pending_since=NOW,
        last_error_code=code if attempts else None,
    )


def fail(kind: RowFailureKind, code: str = CODE) -> RowFailure:
    return RowFailure(kind, code, "message")


# Backoff


@pytest.mark.parametrize(
    ("failures", "ceiling"),
    [
        (1, 0.5),
        (2, 1.0),
        (3, 2.0),
        (4, 4.0),
        (5, 8.0),
        (6, 16.0),
        (7, 32.0),
        (8, 60.0),
        (9, 60.0),
        (1_000, 60.0),
        (10**12, 60.0),
    ],
)
def test_backoff_doubles_from_half_a_second_to_a_minute(failures: int, ceiling: float) -> None:
    assert backoff_seconds(failures, 1.0) == ceiling
    assert backoff_seconds(failures, 0.25) == ceiling / 4
    assert backoff_seconds(failures, 0.0) == 0.0


@given(st.integers(1, 10**6), jitters, st.floats(0.5, 900))
def test_backoff_after_any_failures_is_below_its_limit(
    failures: int, jitter: float, limit: float
) -> None:
    ceiling = backoff_seconds(failures, 1.0, limit)
    assert 0.0 <= backoff_seconds(failures, jitter, limit) <= ceiling <= limit


# Failures of the entity itself

MISSING_REFERENCE = RowFailureKind.MISSING_REFERENCE
STILL_REFERENCED = RowFailureKind.STILL_REFERENCED
UNIQUE_CONFLICT = RowFailureKind.UNIQUE_CONFLICT
BUSY = RowFailureKind.BUSY
INCOMPLETE = RowFailureKind.INCOMPLETE
STRUCTURAL = RowFailureKind.STRUCTURAL
REJECTED = RowFailureKind.REJECTED


@pytest.mark.parametrize(
    ("kind", "attempts", "waited_seconds", "state", "wait_seconds"),
    [
        # Time decides, not attempts.
        (MISSING_REFERENCE, 0, 0, PENDING, 0.5),
        (MISSING_REFERENCE, 10_000, DAY_SECONDS - 0.001, PENDING, 60.0),
        (MISSING_REFERENCE, 3, DAY_SECONDS, DEAD, 4.0),
        (MISSING_REFERENCE, 3, 30 * DAY_SECONDS, DEAD, 4.0),
        (STILL_REFERENCED, 0, 0, PENDING, 0.5),
        (STILL_REFERENCED, 10_000, DAY_SECONDS - 0.001, PENDING, 60.0),
        (STILL_REFERENCED, 3, DAY_SECONDS, DEAD, 4.0),
        # Attempts decide, not time.
        (UNIQUE_CONFLICT, 0, 0, PENDING, 0.5),
        (UNIQUE_CONFLICT, 8, 30 * DAY_SECONDS, PENDING, 60.0),
        (UNIQUE_CONFLICT, 9, 60, DEAD, 60.0),
        (STRUCTURAL, 0, 0, PENDING, 0.5),
        (STRUCTURAL, 8, 30 * DAY_SECONDS, PENDING, 60.0),
        (STRUCTURAL, 9, 60, DEAD, 60.0),
        # Neither does.
        (BUSY, 0, 0, PENDING, 0.5),
        (BUSY, 3, 0, PENDING, 4.0),
        (BUSY, 4, 0, PENDING, 5.0),
        (BUSY, 10_000, 30 * DAY_SECONDS, PENDING, 5.0),
        # The first is the last.
        (INCOMPLETE, 0, 0, DEAD, 0.5),
        (REJECTED, 0, 0, DEAD, 0.5),
    ],
)
def test_entity_that_failed_is_retried_or_dead_by_failure_kind(
    kind: RowFailureKind,
    attempts: int,
    waited_seconds: float,
    state: EntityState,
    wait_seconds: float,
) -> None:
    entity = make_entity(attempts=attempts, waited_seconds=waited_seconds)
    decision = decide_retry(entity, fail(kind), NOW, 1.0)
    assert decision == RetryDecision(
        state=state,
        # Entities that wait for one parent succeed together.
        priority=Priority.WRITE if kind is MISSING_REFERENCE else Priority.RETRIED_WRITE,
        attempts=attempts + 1,
        due_at=after(NOW, wait_seconds),
        awaits_parent=kind is MISSING_REFERENCE,
        waiting_since=after(NOW, -waited_seconds),
        request_limit=None,
    )


@pytest.mark.parametrize("kind", RowFailureKind)
def test_entity_failing_with_another_code_restarts_attempts_and_time(
    kind: RowFailureKind,
) -> None:
    entity = make_entity(attempts=9, waited_seconds=2 * DAY_SECONDS, code="55P03")
    decision = decide_retry(entity, fail(kind), NOW, 0.5)
    assert (decision.attempts, decision.waiting_since) == (1, NOW)
    assert (decision.state is DEAD) == (kind in (INCOMPLETE, REJECTED))


@pytest.mark.parametrize("kind", RowFailureKind)
def test_entity_of_a_split_request_stays_in_small_requests(kind: RowFailureKind) -> None:
    entity = replace(make_entity(), request_limit=20)
    assert decide_retry(entity, fail(kind), NOW, 0.5).request_limit == 20


@pytest.mark.parametrize(
    ("kind", "is_removal", "priority"),
    [
        (Kind.MEMBERSHIP, True, Priority.RETRIED_REVOCATION),
        (Kind.MEMBERSHIP, False, Priority.RETRIED_WRITE),
        (Kind.USER, True, Priority.RETRIED_DELETE),
    ],
)
def test_entity_that_failed_shares_no_request_with_fresh_changes(
    kind: Kind, is_removal: bool, priority: Priority
) -> None:
    entity = replace(make_entity(kind=kind), version=Version(NOW, is_removal, 1))
    assert decide_retry(entity, fail(BUSY), NOW, 0.5).priority is priority


# Requests of a single entity


@pytest.mark.parametrize(
    ("attempts", "wait_seconds"), [(0, 0.5), (7, 64.0), (10, 512.0), (11, 900.0), (10_000, 900.0)]
)
def test_entity_failing_alone_backs_off_and_never_dies(attempts: int, wait_seconds: float) -> None:
    failure = RequestFailure(RequestFailureKind.UNAVAILABLE, "57014", "too slow")
    entity = make_entity(attempts=attempts, waited_seconds=30 * DAY_SECONDS, code="57014")
    assert decide_retry_alone(entity, failure, NOW, 1.0) == RetryDecision(
        state=PENDING,
        priority=Priority.ALONE,
        attempts=attempts + 1,
        due_at=after(NOW, wait_seconds),
        awaits_parent=False,
        waiting_since=after(NOW, -30 * DAY_SECONDS) if attempts else NOW,
        request_limit=1,
    )


# A clock that ran ahead


@given(
    st.sampled_from(Priority),
    st.sampled_from(RowFailureKind),
    st.integers(0, 10**6),
    jitters,
)
def test_entity_is_never_due_after_the_latest_legitimate_time(
    priority: Priority, kind: RowFailureKind, attempts: int, jitter: float
) -> None:
    entity = make_entity(attempts=attempts)
    failure = RequestFailure(RequestFailureKind.UNAVAILABLE, CODE, "too slow")
    alone = decide_retry_alone(entity, failure, NOW, jitter)
    assert alone.due_at <= latest_due_at(alone.priority, NOW)
    assert decide_retry(entity, fail(kind), NOW, jitter).due_at <= latest_due_at(priority, NOW)


@pytest.mark.parametrize("priority", Priority)
def test_wait_longer_than_any_backoff_counts_as_clock_skew(priority: Priority) -> None:
    limit_seconds = 900 if priority is Priority.ALONE else 60
    assert latest_due_at(priority, NOW) == after(NOW, limit_seconds)
