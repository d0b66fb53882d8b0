"""Metrics in the form that Prometheus scrapes."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.domain.drift import DriftStatus, Effect
from app.domain.entities import EntityState
from app.domain.instants import Instant, seconds_between, to_datetime
from app.store.outcome_queries import Applied, Failed, Outcome

_LAG_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class Measurements:
    """The metrics of one relay, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter("relay_events", "Events received, by receipt.", "receipt")
        self.rejections = self._counter("relay_rejections", "Webhooks rejected, by code.", "code")
        self.outcomes = self._counter(
            "relay_outcomes", "Outcomes recorded for entities: applied, retried, dead.", "outcome"
        )
        self.stops = self._counter(
            "relay_supabase_stops",
            "Circuit breaker trips, and tables held, by kind of failure.",
            "kind",
        )
        self.lag = Histogram(
            "relay_lag_seconds",
            "Time from the event that made an entity pending until Supabase held its row;"
            " takes_access is true for revocations.",
            ["takes_access"],
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self.pending = self._gauge("relay_pending_entities", "Entities not yet in Supabase.")
        self.dead = self._gauge("relay_dead_entities", "Entities that Supabase rejected.")
        self.oldest_pending = self._gauge(
            "relay_oldest_pending_seconds", "Age of the oldest pending entity."
        )
        self.oldest_removal = self._gauge(
            "relay_oldest_pending_removal_seconds", "Age of the oldest pending revocation."
        )
        self.drift_rows = Gauge(
            "relay_drift_rows",
            "Rows of Supabase that differ from the desired state, at the newest completed check.",
            ["table", "kind"],
            registry=self.registry,
        )
        self.drift_checked = self._gauge(
            "relay_drift_checked_timestamp_seconds",
            "When the newest check for drift completed; 0 before the first one.",
        )
        self.health = self._gauge("relay_up", "1: ok, 0.5: degraded, 0: down.")

    def count_outcomes(self, outcomes: Iterable[Outcome], now: Instant) -> None:
        """Count the outcomes of a batch, and observe how long each change was pending."""
        for outcome in outcomes:
            entity = outcome.entity
            if isinstance(outcome, Applied):
                self.outcomes.labels("applied").inc()
                # Negative if the clock was set back.
                seconds = max(0.0, seconds_between(entity.pending_since, now))
                takes_access = "true" if entity.version.is_removal else "false"
                self.lag.labels(takes_access).observe(seconds)
            elif isinstance(outcome, Failed):
                is_dead = outcome.decision.state is EntityState.DEAD
                self.outcomes.labels("dead" if is_dead else "retried").inc()

    def show_drift(self, drift: DriftStatus) -> None:
        """Show the result of the newest completed check."""
        self.drift_rows.clear()
        completed = drift.completed
        if completed is None:
            return
        for table in completed.tables:
            for effect in Effect:
                self.drift_rows.labels(table.table, effect).set(table.counts.get(effect, 0))
        if completed.finished_at is not None:
            self.drift_checked.set(to_datetime(completed.finished_at).timestamp())

    def _counter(self, name: str, documentation: str, label: str) -> Counter:
        return Counter(name, documentation, [label], registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, registry=self.registry)
