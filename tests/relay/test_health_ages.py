"""Ages in the health report, with clocks that step."""

import pytest

from app.domain.instants import Instant, after
from app.relay.health import AgeObserver
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


def test_age_with_no_waiting_entity_is_0(observer: AgeObserver) -> None:
    assert observer.measure(None, None, NOW) == 0.0


def test_age_is_by_the_wall_clock_also_when_first_seen(observer: AgeObserver) -> None:
    assert measure(observer, NOW, after(NOW, 90)) == 90.0


def test_age_of_a_future_stamp_counts_from_its_first_observation(
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


def test_age_of_a_future_stamp_is_shown_beside_newer_ones(
    observer: AgeObserver, monotonic: Clock
) -> None:
    """New events keep arriving, each with an older stamp than the stuck one."""
    stuck = after(NOW, 3600)
    for second in range(61):
        age = observer.measure(after(NOW, second - 0.1), stuck, after(NOW, second))
        monotonic.advance(1)
    assert age == 60.0


def test_age_of_another_stamp_starts_over(observer: AgeObserver, monotonic: Clock) -> None:
    measure(observer, after(NOW, 50), NOW)
    monotonic.advance(40)
    assert measure(observer, after(NOW, 51), NOW) == 0.0
    monotonic.advance(3)
    assert measure(observer, None, NOW) == 0.0
    assert measure(observer, after(NOW, 51), NOW) == 0.0
