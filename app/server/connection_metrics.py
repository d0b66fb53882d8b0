"""Prometheus metrics of the connections."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.server.connections import Connections, Reason


class ConnectionMetrics(Collector):
    """Reads the metrics when they are scraped."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield GaugeMetricFamily(
            "relay_connections", "Open connections.", value=self._connections.open_count
        )
        evictions = CounterMetricFamily(
            "relay_connections_evicted",
            "Connections closed to stay within a limit, by limit.",
            labels=["reason"],
        )
        for reason in Reason:
            evictions.add_metric([reason], self._connections.evictions[reason])
        yield evictions
