"""The arithmetic of trying again, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import (
    EntityKey,
    EntityRef,
    EntityState,
    Kind,
    PendingEntity,
    Version,
)
from app.domain.failures import Failure, FailureKind
from app.domain.instants import Instant, after
from app.domain.retry import Breaker, BreakerState, Verdict, backoff_seconds, judge_refusal

NOW = Instant(1_767_323_045_000_000)
DAY_SECONDS = 24 * 3600.0
OPERATORS_KINDS = [FailureKind.MISCONFIGURED, FailureKind.SCHEMA_MISMATCH]


def make_failure(
    kind: FailureKind = FailureKind.OUTAGE, retry_after_seconds: float | None = None
) -> Failure:
    return Failure(kind, "code", "message", retry_after_seconds)


def make_entity(*, attempts: int = 0, waiting_since: Instant | None = None) -> PendingEntity:
    return PendingEntity(
        ref=EntityRef(Kind.USER, EntityKey("123e4567-e89b-12d3-a456-426614174000")),
        version=Version(NOW, False, 1),
        row=None,
        revision=1,
        attempts=attempts,
        waiting_since=waiting_since,
        pending_since=NOW,
    )


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


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_of_any_failures_lies_below_its_ceiling(failures: int, jitter: float) -> None:
    assert 0.0 <= backoff_seconds(failures, jitter) <= backoff_seconds(failures, 1.0) <= 60.0


# The breaker


def test_breaker_at_first_is_closed_and_lets_through() -> None:
    breaker = Breaker()
    assert breaker.state is BreakerState.CLOSED
    assert breaker.last_failure is None
    assert breaker.seconds_to_wait(NOW) == 0.0


def test_breaker_opens_at_the_third_outage_in_a_row() -> None:
    breaker = Breaker()
    states = []
    for _ in range(4):
        breaker.record_failure(make_failure(), NOW, 0.5)
        states.append(breaker.state)
    closed, opened = BreakerState.CLOSED, BreakerState.OPEN
    assert states == [closed, closed, opened, opened]


@pytest.mark.parametrize("kind", OPERATORS_KINDS)
def test_breaker_opens_at_once_for_what_only_an_operator_can_mend(kind: FailureKind) -> None:
    breaker = Breaker()
    breaker.record_failure(make_failure(kind), NOW, 0.5)
    assert breaker.state is BreakerState.OPEN
    assert breaker.last_failure == make_failure(kind)


def test_breaker_closes_and_forgets_on_success() -> None:
    breaker = Breaker()
    for _ in range(9):
        breaker.record_failure(make_failure(retry_after_seconds=600), NOW, 1.0)
    breaker.record_success()
    assert (breaker.state, breaker.last_failure) == (BreakerState.CLOSED, None)
    assert breaker.seconds_to_wait(NOW) == 0.0
    breaker.record_failure(make_failure(), NOW, 1.0)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.seconds_to_wait(NOW) == 0.5


def test_breaker_waits_longer_with_every_failure_in_a_row() -> None:
    breaker, waits = Breaker(), []
    for _ in range(9):
        breaker.record_failure(make_failure(), NOW, 1.0)
        waits.append(breaker.seconds_to_wait(NOW))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_breaker_wait_runs_out_as_the_clock_advances_and_stays_open_for_a_probe() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker.record_failure(make_failure(), NOW, 1.0)
    assert [breaker.seconds_to_wait(after(NOW, passed)) for passed in (0, 0.5, 2, 3600)] == [
        2.0,
        1.5,
        0.0,
        0.0,
    ]
    assert breaker.state is BreakerState.OPEN
    later = after(NOW, 2)
    breaker.record_failure(make_failure(), later, 1.0)  # the probe
    assert breaker.seconds_to_wait(later) == 4.0


def test_breaker_open_for_an_operator_stays_open_through_an_outage() -> None:
    breaker = Breaker()
    breaker.record_failure(make_failure(FailureKind.MISCONFIGURED), NOW, 1.0)
    breaker.record_failure(make_failure(), NOW, 1.0)
    breaker.record_failure(make_failure(), NOW, 1.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.last_failure == make_failure()


@pytest.mark.parametrize(
    ("retry_after_seconds", "jitter", "wait"),
    [
        (None, 0.0, 0.0),
        (None, 1.0, 0.5),
        (0.0, 1.0, 0.5),
        (0.1, 1.0, 0.5),  # the backoff is longer
        (30.0, 0.0, 30.0),  # never sooner than asked for
        (30.0, 0.5, 31.5),
        (30.0, 1.0, 33.0),
        (600.0, 0.0, 600.0),  # nor cut at the limit of our own backoff
    ],
)
def test_breaker_takes_what_supabase_asks_for_as_a_floor(
    retry_after_seconds: float | None, jitter: float, wait: float
) -> None:
    breaker = Breaker()
    breaker.record_failure(make_failure(retry_after_seconds=retry_after_seconds), NOW, jitter)
    assert breaker.seconds_to_wait(NOW) == pytest.approx(wait)


# One entity's own fate

PENDING, DEAD = EntityState.PENDING, EntityState.DEAD


@pytest.mark.parametrize(
    ("kind", "attempts", "state", "wait"),
    [
        (FailureKind.PARENT_MISSING, 0, PENDING, 0.5),
        (FailureKind.PARENT_MISSING, 1, PENDING, 1.0),
        (FailureKind.PARENT_MISSING, 10_000, PENDING, 60.0),  # time decides, not attempts
        (FailureKind.CONTESTED, 0, PENDING, 0.5),
        (FailureKind.CONTESTED, 8, PENDING, 60.0),
        (FailureKind.CONTESTED, 9, DEAD, 60.0),
        (FailureKind.CONTESTED, 10, DEAD, 60.0),
        (FailureKind.OURS, 0, PENDING, 0.5),
        (FailureKind.OURS, 8, PENDING, 60.0),
        (FailureKind.OURS, 9, DEAD, 60.0),
        (FailureKind.REFUSED, 0, DEAD, 0.5),
        (FailureKind.REFUSED, 9, DEAD, 60.0),
    ],
)
def test_verdict_on_an_entity_refused_after_so_many_attempts(
    kind: FailureKind, attempts: int, state: EntityState, wait: float
) -> None:
    awaits_parent = kind is FailureKind.PARENT_MISSING
    assert judge_refusal(make_entity(attempts=attempts), make_failure(kind), NOW, 1.0) == Verdict(
        state=state,
        attempts=attempts + 1,
        due_at=after(NOW, wait),
        awaits_parent=awaits_parent,
        waiting_since=NOW if awaits_parent else None,
    )


@pytest.mark.parametrize(
    ("waited_seconds", "state"),
    [
        (0.0, PENDING),
        (DAY_SECONDS - 0.000_001, PENDING),
        (DAY_SECONDS, DEAD),
        (30 * DAY_SECONDS, DEAD),
    ],
)
def test_verdict_on_an_orphan_is_death_after_a_day(
    waited_seconds: float, state: EntityState
) -> None:
    since = after(NOW, -waited_seconds)
    entity = make_entity(attempts=3, waiting_since=since)
    verdict = judge_refusal(entity, make_failure(FailureKind.PARENT_MISSING), NOW, 0.5)
    assert verdict.state is state
    assert verdict.awaits_parent is (state is PENDING)
    assert verdict.waiting_since == since
    assert verdict.attempts == 4


@pytest.mark.parametrize("kind", [FailureKind.CONTESTED, FailureKind.OURS, FailureKind.REFUSED])
def test_verdict_on_an_orphan_refused_otherwise_ends_its_waiting(kind: FailureKind) -> None:
    entity = make_entity(waiting_since=after(NOW, -60))
    verdict = judge_refusal(entity, make_failure(kind), NOW, 0.5)
    assert (verdict.awaits_parent, verdict.waiting_since) == (False, None)


@pytest.mark.parametrize("kind", FailureKind)
def test_verdict_is_given_on_every_kind_of_failure_or_refused(kind: FailureKind) -> None:
    failure = make_failure(kind)
    if not failure.stops_everything:
        assert judge_refusal(make_entity(), failure, NOW, 0.5).attempts == 1
        return
    with pytest.raises(ValueError, match="stops everything"):
        judge_refusal(make_entity(), failure, NOW, 0.5)


def test_breaker_told_to_come_back_in_a_year_tries_within_a_quarter_of_an_hour() -> None:
    breaker = Breaker()
    breaker.record_failure(make_failure(retry_after_seconds=3.2e7), NOW, 0.0)
    assert breaker.seconds_to_wait(NOW) == 900
