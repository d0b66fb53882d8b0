"""Shows for how long Supabase is left alone after a failed probe."""

import pytest

from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.retry import BreakerState, CircuitBreaker

NOW = 1_000.0


def fail(retry_after_seconds: float | None = None) -> RequestFailure:
    return RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "m", retry_after_seconds)


def test_breaker_is_closed_at_first() -> None:
    breaker = CircuitBreaker()
    assert (breaker.state, breaker.last_failure) == (BreakerState.CLOSED, None)
    assert breaker.seconds_to_wait(NOW) == 0.0


@pytest.mark.parametrize("kind", RequestFailureKind)
def test_breaker_opens_at_the_first_failed_probe_and_tells_why(kind: RequestFailureKind) -> None:
    breaker = CircuitBreaker()
    failure = RequestFailure(kind, "c", "m")
    breaker.open(failure, NOW, 0.5)
    assert (breaker.state, breaker.last_failure) == (BreakerState.OPEN, failure)


def test_breaker_waits_longer_after_every_failed_probe() -> None:
    breaker, waits = CircuitBreaker(), []
    for _ in range(9):
        breaker.open(fail(), NOW, 1.0)
        waits.append(breaker.seconds_to_wait(NOW))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_breaker_stays_open_when_its_wait_is_over_until_a_probe_is_answered() -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        breaker.open(fail(), NOW, 1.0)
    waits = [breaker.seconds_to_wait(NOW + passed) for passed in (0, 0.5, 2, 3600)]
    assert waits == [2.0, 1.5, 0.0, 0.0]
    assert breaker.state is BreakerState.OPEN
    breaker.close()
    assert (breaker.state, breaker.last_failure) == (BreakerState.CLOSED, None)


def test_breaker_that_was_closed_forgets_what_it_waited_for() -> None:
    breaker = CircuitBreaker()
    for _ in range(9):
        breaker.open(fail(600), NOW, 1.0)
    breaker.close()
    assert breaker.seconds_to_wait(NOW) == 0.0
    breaker.open(fail(), NOW, 1.0)
    assert breaker.seconds_to_wait(NOW) == 0.5


@pytest.mark.parametrize(
    ("retry_after_seconds", "jitter", "wait_seconds"),
    [
        (None, 0.0, 0.0),
        (None, 1.0, 0.5),
        (0.0, 1.0, 0.5),
        (0.1, 1.0, 0.5),  # the backoff is longer
        (30.0, 0.0, 30.0),  # never sooner than asked for
        (30.0, 0.5, 31.5),
        (30.0, 1.0, 33.0),
        (600.0, 0.0, 600.0),  # the limit of the backoff is not its limit
        (900.0, 0.0, 900.0),
        (3.2e7, 0.0, 900.0),  # in a year: a wrong clock
        (float("inf"), 0.0, 900.0),
    ],
)
def test_breaker_takes_what_supabase_asks_for_as_a_floor_of_a_quarter_of_an_hour_at_most(
    retry_after_seconds: float | None, jitter: float, wait_seconds: float
) -> None:
    breaker = CircuitBreaker()
    breaker.open(fail(retry_after_seconds), NOW, jitter)
    assert breaker.seconds_to_wait(NOW) == pytest.approx(wait_seconds)
