"""What is counted and timed, in the form that Prometheus scrapes."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram

from app.domain.entities import EntityState
from app.domain.instants import Instant, seconds_between
from app.store.dispatch_queries import Applied, Failed, Outcome

_LAG_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class Measurements:
    """One relay's figures, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = prometheus_client.Counter(
            "relay_events", "Events received, by receipt.", ["receipt"], registry=self.registry
        )
        self.rejections = prometheus_client.Counter(
            "relay_rejections", "Webhooks rejected, by code.", ["code"], registry=self.registry
        )
        self.outcomes = prometheus_client.Counter(
            "relay_outcomes",
            "Outcomes recorded for entities: applied, retried, dead.",
            ["outcome"],
            registry=self.registry,
        )
        self.stops = prometheus_client.Counter(
            "relay_supabase_stops",
            "Circuit breaker trips, and tables held, by kind of failure.",
            ["kind"],
            registry=self.registry,
        )
        self.lag = Histogram(
            "relay_lag_seconds",
            "From the event that made a row pending to Supabase holding it; what takes access away"
            " has its own.",
            ["takes_access"],
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.pending = Gauge(
            "relay_pending_entities", "Not yet in Supabase.", registry=self.registry
        )
        self.dead = Gauge(
            "relay_dead_entities", "Rejected by Supabase for good.", registry=self.registry
        )
        self.oldest_pending = Gauge(
            "relay_oldest_pending_seconds", "Age of the oldest pending.", registry=self.registry
        )
        self.oldest_removal = Gauge(
            "relay_oldest_pending_removal_seconds",
            "Age of the oldest pending that takes access away.",
            registry=self.registry,
        )
        self.health = Gauge(
            "relay_up", "1: ok, 0.5: degraded, 0: no event is accepted.", registry=self.registry
        )

    def count_outcomes(self, outcomes: Sequence[Outcome], now: Instant) -> None:
        """Count what came of a batch, and how long it took."""
        # To look a figure up by its labels takes longer than to count.
        lags: defaultdict[bool, list[float]] = defaultdict(list)
        counts: Counter[str] = Counter()
        for outcome in outcomes:
            entity = outcome.entity
            if isinstance(outcome, Applied):
                counts["applied"] += 1
                takes_access = entity.version.is_removal
                # A clock that was set back must not make it negative.
                lags[takes_access].append(max(0.0, seconds_between(entity.pending_since, now)))
            elif isinstance(outcome, Failed):
                is_dead = outcome.decision.state is EntityState.DEAD
                counts["dead" if is_dead else "retried"] += 1
        for takes_access, seconds in lags.items():
            lag = self.lag.labels("true" if takes_access else "false")
            for each in seconds:
                lag.observe(each)
        for name, count in counts.items():
            self.outcomes.labels(name).inc(count)
