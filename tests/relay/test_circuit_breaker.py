"""How long the circuit breaker stays open."""

import pytest

from app.domain.clocks import Clocks
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.instants import from_seconds
from app.relay.circuit_breaker import CircuitBreaker
from app.relay.measurements import Measurements
from tests.auth.issuer import Clock


def make_breaker(*, jitter: float = 1.0) -> tuple[CircuitBreaker, Clock]:
    clock = Clock(1_000.0)
    breaker = CircuitBreaker(Clocks(monotonic=clock, jitter=lambda: jitter), Measurements())
    return breaker, clock


def fail(retry_after_seconds: float | None = None) -> RequestFailure:
    return RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "m", retry_after_seconds)


def test_breaker_is_closed_at_first() -> None:
    breaker, _ = make_breaker()
    assert not breaker.is_open
    assert breaker.seconds_to_wait() == 0.0


@pytest.mark.parametrize("kind", RequestFailureKind)
def test_breaker_after_one_failed_probe_is_open_and_keeps_the_failure(
    kind: RequestFailureKind,
) -> None:
    breaker, _ = make_breaker()
    failure = RequestFailure(kind, "c", "m")
    breaker.open(failure)
    assert breaker.is_open
    assert breaker.failure == failure


def test_breaker_after_each_failed_probe_waits_longer() -> None:
    breaker, _ = make_breaker()
    waits = []
    for _ in range(9):
        breaker.open(fail())
        waits.append(breaker.seconds_to_wait())
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_breaker_after_its_wait_stays_open_until_a_probe_succeeds() -> None:
    breaker, clock = make_breaker()
    for _ in range(3):
        breaker.open(fail())
    waits = [breaker.seconds_to_wait()]
    for seconds in (0.5, 1.5, 3600):
        clock.advance(seconds)
        waits.append(breaker.seconds_to_wait())
    assert waits == [2.0, 1.5, 0.0, 0.0]
    assert breaker.is_open
    breaker.close()
    assert not breaker.is_open


def test_breaker_after_it_was_closed_starts_from_the_first_backoff() -> None:
    breaker, _ = make_breaker()
    for _ in range(9):
        breaker.open(fail(600))
    breaker.close()
    assert breaker.seconds_to_wait() == 0.0
    breaker.open(fail())
    assert breaker.seconds_to_wait() == 0.5


@pytest.mark.parametrize(
    ("retry_after_seconds", "jitter", "wait_seconds"),
    [
        (None, 0.0, 0.0),
        (None, 1.0, 0.5),
        (0.0, 1.0, 0.5),
        (0.1, 1.0, 0.5),  # the backoff is longer
        (30.0, 0.0, 30.0),  # never earlier than asked for
        (30.0, 0.5, 31.5),
        (30.0, 1.0, 33.0),
        (600.0, 0.0, 600.0),  # beyond the limit of the backoff
        (900.0, 0.0, 900.0),
        (3.2e7, 0.0, 900.0),  # in a year: a wrong clock
        (float("inf"), 0.0, 900.0),
    ],
)
def test_breaker_given_retry_after_waits_at_least_that_long_up_to_15_minutes(
    retry_after_seconds: float | None, jitter: float, wait_seconds: float
) -> None:
    breaker, _ = make_breaker(jitter=jitter)
    breaker.open(fail(retry_after_seconds))
    assert breaker.seconds_to_wait() == pytest.approx(wait_seconds)


def test_breaker_tells_when_it_opened_and_when_it_probes_next() -> None:
    clock = Clock(1_000.0)
    breaker = CircuitBreaker(Clocks(clock, clock, lambda: 1.0), Measurements())
    breaker.open(fail())
    assert (breaker.opened_at, breaker.next_probe_at) == (from_seconds(1000), from_seconds(1000.5))
    clock.advance(10)
    breaker.open(fail())
    assert (breaker.opened_at, breaker.next_probe_at) == (from_seconds(1000), from_seconds(1011))
    breaker.close()
    assert breaker.opened_at is None
    assert breaker.next_probe_at is None
