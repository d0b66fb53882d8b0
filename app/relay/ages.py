"""Ages of what waits, which a clock that is set back does not hide."""

from collections.abc import Callable

from app.domain.instants import Instant, seconds_between


class AgeObserver:
    """Gives the age of what has waited longest.

    By the wall clock, what became pending before the clock was set back would be new, or not even
    begun. So it also counts for how long it has been seen itself.

    Args:
        monotonic: seconds that never step.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen_at: dict[Instant, float] = {}

    def measure(self, oldest: Instant | None, latest: Instant | None, now: Instant) -> float:
        """Give an age in seconds; 0 where nothing waits.

        Args:
            oldest: since when the longest waiting one waits, by its stamp.
            latest: the same of the one with the latest stamp.
            now: by the wall clock.
        """
        if oldest is None or latest is None:
            self._seen_at = {}
            return 0.0
        # A stamp in the future is older than the clock can tell, and need not be the oldest one.
        stamps = {oldest, latest} if latest > now else {oldest}
        seen_at = self._monotonic()
        self._seen_at = {stamp: self._seen_at.get(stamp, seen_at) for stamp in stamps}
        return max(seconds_between(oldest, now), seen_at - min(self._seen_at.values()), 0.0)
