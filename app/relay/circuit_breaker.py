"""The circuit breaker in front of Supabase."""

import logging

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.instants import Instant, after
from app.domain.retry import RETRY_AFTER_LIMIT_SECONDS, backoff_seconds
from app.relay.measurements import Measurements

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Open from a failed probe until a probe succeeds.

    Attributes:
        failure: why the circuit breaker is open; None while it is closed.
        opened_at: when it opened, on the wall clock; None while it is closed.
        next_probe_at: when the next probe is due, on the wall clock; None while it is closed.
    """

    def __init__(self, clocks: Clocks, measurements: Measurements) -> None:
        self._clocks = clocks
        self._trips = measurements.stops
        self._failures = 0
        self._retry_at = 0.0
        self._outage = Degradation(
            logger,
            "Supabase is reachable again; circuit breaker closed",
            monotonic=clocks.monotonic,
        )
        self.failure: RequestFailure | None = None
        self.opened_at: Instant | None = None
        self.next_probe_at: Instant | None = None

    @property
    def is_open(self) -> bool:
        """Whether only probes may be sent."""
        return self.failure is not None

    def seconds_to_wait(self) -> float:
        """Return the time until the next probe may be sent; 0.0 for now."""
        return max(0.0, self._retry_at - self._clocks.monotonic())

    def open(self, failure: RequestFailure) -> None:
        """Open after a failed probe, or because Supabase asked for a pause."""
        needs_operator = failure.kind is RequestFailureKind.MISCONFIGURED
        self._outage.note(
            "Supabase cannot be written to; circuit breaker open:"
            f" {failure.code} {failure.message}",
            cause=failure.code,
            level=logging.ERROR if needs_operator else logging.WARNING,
        )
        self._trips.labels(failure.kind.value).inc()
        self._failures += 1
        self.failure = failure
        jitter = self._clocks.jitter()
        asked_seconds = min(failure.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
        # Never earlier than Supabase asked for; up to a tenth later, to spread the relays.
        floor = asked_seconds * (1.0 + 0.1 * jitter)
        seconds = max(floor, backoff_seconds(self._failures, jitter))
        self._retry_at = self._clocks.monotonic() + seconds
        now = self._clocks.now()
        self.opened_at = self.opened_at or now
        self.next_probe_at = after(now, seconds)

    def close(self) -> None:
        """Close after a successful probe."""
        self._outage.end()
        self._failures, self._retry_at, self.failure = 0, 0.0, None
        self.opened_at = self.next_probe_at = None
