"""Ages that a clock set back cannot hide."""

from collections.abc import Callable

from app.domain.instants import Instant, seconds_between


class AgeObserver:
    """Measures the age of the oldest waiting entity.

    After the clock was set back, the wall clock alone would call an old entity new. So the observer
    also measures how long it has seen each stamp itself.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen_at: dict[Instant, float] = {}

    def measure(self, oldest: Instant | None, latest: Instant | None, now: Instant) -> float:
        """Return an age in seconds; 0.0 if nothing waits.

        Args:
            oldest: the earliest stamp of the waiting entities.
            latest: their latest stamp.
            now: by the wall clock.
        """
        if oldest is None or latest is None:
            self._seen_at = {}
            return 0.0
        # An entity with a stamp in the future may be the oldest one.
        stamps = {oldest, latest} if latest > now else {oldest}
        seen_at = self._monotonic()
        self._seen_at = {stamp: self._seen_at.get(stamp, seen_at) for stamp in stamps}
        return max(seconds_between(oldest, now), seen_at - min(self._seen_at.values()), 0.0)
