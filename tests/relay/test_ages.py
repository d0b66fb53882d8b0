"""Ages, by clocks that step."""

import pytest

from app.domain.instants import Instant, after
from app.relay.ages import AgeObserver
from tests.auth.issuer import Clock
from tests.histories import NOW


@pytest.fixture
def monotonic() -> Clock:
    return Clock()


@pytest.fixture
def observer(monotonic: Clock) -> AgeObserver:
    return AgeObserver(monotonic)


def measure(observer: AgeObserver, since: Instant | None, now: Instant) -> float:
    return observer.measure(since, since, now)


def test_age_with_nothing_waiting_is_0(observer: AgeObserver) -> None:
    assert observer.measure(None, None, NOW) == 0.0


def test_age_is_by_the_wall_clock_also_when_first_seen(observer: AgeObserver) -> None:
    assert measure(observer, NOW, after(NOW, 90)) == 90.0


def test_age_of_what_lies_in_the_future_counts_from_when_it_was_seen(
    observer: AgeObserver, monotonic: Clock
) -> None:
    ahead = after(NOW, 3600)
    assert measure(observer, ahead, NOW) == 0.0
    monotonic.advance(40)
    assert measure(observer, ahead, after(NOW, 40)) == 40.0
    # The wall clock catches up.
    monotonic.advance(5000)
    assert measure(observer, ahead, after(NOW, 5040)) == 5040.0


def test_age_does_not_fall_when_the_clock_is_set_back(
    observer: AgeObserver, monotonic: Clock
) -> None:
    assert measure(observer, NOW, after(NOW, 1)) == 1.0
    monotonic.advance(600)
    assert measure(observer, NOW, after(NOW, -100)) == 600.0


def test_age_of_what_lies_in_the_future_shows_beside_what_is_new(
    observer: AgeObserver, monotonic: Clock
) -> None:
    """Events go on to come in, each of which has an older stamp than the one that is stuck."""
    stuck = after(NOW, 3600)
    for second in range(61):
        age = observer.measure(after(NOW, second - 0.1), stuck, after(NOW, second))
        monotonic.advance(1)
    assert age == 60.0


def test_age_of_another_one_begins_anew(observer: AgeObserver, monotonic: Clock) -> None:
    measure(observer, after(NOW, 50), NOW)
    monotonic.advance(40)
    assert measure(observer, after(NOW, 51), NOW) == 0.0
    monotonic.advance(3)
    assert measure(observer, None, NOW) == 0.0
    assert measure(observer, after(NOW, 51), NOW) == 0.0
