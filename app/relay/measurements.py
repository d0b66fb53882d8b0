"""Metrics in the form that Prometheus scrapes."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from app.domain.drift import DriftStatus, Effect
from app.domain.entities import EntityState
from app.domain.exposure import BUCKET_SECONDS
from app.domain.instants import Instant, seconds_between, to_datetime
from app.store.outcome_queries import Applied, Failed, Outcome
from app.store.store_size import StorePart
from app.supabase.exchange import Exchange

_Buckets = tuple[float, ...]
# An SSD commits in less than a millisecond.
_STORE_BUCKETS: Final[_Buckets] = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_SUPABASE_BUCKETS: Final[_Buckets] = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_BUCKETS: Final[_Buckets] = (*_SUPABASE_BUCKETS, 60, 300, 3600)


class Measurements:
    """The metrics of one relay and its process, in one registry.

    Attributes:
        receive_event: observes the duration of `POST /webhooks`; resolved once, as finding a label
            takes as long as observing.
        receive_batch: the same of `POST /webhooks/batch`.
    """

    def __init__(self, version: str = "unknown") -> None:
        # Otherwise each counter and histogram has one more series, of when it began. The library
        # has one switch for the whole process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("relay_build", "The version of the relay.", registry=self.registry)
        build.info({"version": version})
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
        receive = self._histogram(
            "relay_receive_duration_seconds",
            "Time from a complete request until its events are durable, of those accepted or stored"
            " before.",
            _STORE_BUCKETS,
            "endpoint",
        )
        self.receive_event, self.receive_batch = receive.labels("event"), receive.labels("batch")
        self.in_flight = self._gauge(
            "relay_in_flight_webhooks", "Authentic webhooks that are not durable yet."
        )
        self.maximum_in_flight = self._gauge(
            "relay_max_in_flight_webhooks", "The limit of relay_in_flight_webhooks."
        )
        self.waiting = self._gauge(
            "relay_waiting_webhooks", "Durable webhooks that wait for Supabase (Prefer: wait)."
        )
        self.commit = self._histogram(
            "relay_commit_duration_seconds",
            "Time that a commit of the store took, with the work of its transaction.",
            _STORE_BUCKETS,
        )
        self._store_bytes = self._gauge(
            "relay_store_bytes",
            "Size of the store: database and write_ahead_log of SQLite, tables and indexes of"
            " PostgreSQL. Missing if it cannot be read.",
            "part",
        )
        self._supabase_requests = self._histogram(
            "relay_supabase_request_duration_seconds",
            "Time that a request to Supabase took. status is the class of the response's status;"
            " timeout or error without a response; invalid if it is not the function's.",
            _SUPABASE_BUCKETS,
            "function",
            "status",
        )
        self._supabase_success = self._gauge(
            "relay_supabase_last_success_timestamp_seconds",
            "When a request to Supabase last succeeded; 0 before the first one. An idle relay"
            " probes every 30 seconds.",
        )
        self.breaker_open = self._gauge(
            "relay_circuit_breaker_open",
            "1 while this replica dispatches and its circuit breaker is open; else 0.",
        )
        self.leader = self._gauge("relay_leader", "1 while this replica dispatches; else 0.")
        self.lag = self._histogram(
            "relay_lag_seconds",
            "Time from the event that made an entity pending until Supabase held its row;"
            " takes_access is true for revocations.",
            _LAG_BUCKETS,
            "takes_access",
        )
        self.revocation_lag = self._histogram(
            "relay_revocation_lag_seconds",
            "Time from a revocation of a membership at the source until Supabase held it.",
            BUCKET_SECONDS,
        )
        self.pending = self._gauge("relay_pending_entities", "Entities not yet in Supabase.")
        self.dead = self._gauge("relay_dead_entities", "Entities that Supabase rejected.")
        self.oldest_pending = self._gauge(
            "relay_oldest_pending_seconds", "Age of the oldest pending entity."
        )
        self.oldest_removal = self._gauge(
            "relay_oldest_pending_removal_seconds", "Age of the oldest pending revocation."
        )
        self.pending_accounts = self._gauge(
            "relay_pending_accounts",
            "Auth accounts of removed users that are still to be banned or deleted.",
        )
        self.drift_rows = self._gauge(
            "relay_drift_rows",
            "Rows of Supabase that differ from the desired state, at the newest completed check.",
            "table",
            "kind",
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
                if entity.revoked_at is not None:
                    exposed_seconds = seconds_between(entity.revoked_at, outcome.applied_at or now)
                    self.revocation_lag.observe(max(0.0, exposed_seconds))
            elif isinstance(outcome, Failed):
                is_dead = outcome.decision.state is EntityState.DEAD
                self.outcomes.labels("dead" if is_dead else "retried").inc()

    def observe_exchange(self, exchange: Exchange) -> None:
        """Observe a request to Supabase."""
        labels = (exchange.function, exchange.status)
        self._supabase_requests.labels(*labels).observe(exchange.seconds)
        if exchange.is_success:
            self._supabase_success.set(exchange.ended_at)

    def show_store_size(self, bytes_by_part: Mapping[StorePart, int]) -> None:
        """Show the size of the store; without any part, no size."""
        self._store_bytes.clear()
        for part, size_bytes in bytes_by_part.items():
            self._store_bytes.labels(part).set(size_bytes)

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

    def _histogram(
        self, name: str, documentation: str, buckets: _Buckets, *labels: str
    ) -> Histogram:
        return Histogram(name, documentation, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)
