"""Fixtures: a collector, and relays that export to it."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.domain.traces import Tracer
from app.observability.trace_environment import open_tracer
from tests.api.relay_harness import RelayStarter
from tests.observability.collector import Collector, run_collector


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names, with the library's log as it was afterwards."""
    library = logging.getLogger("opentelemetry")
    handlers, propagate = library.handlers, library.propagate
    with run_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield running
    library.handlers, library.propagate = handlers, propagate


@pytest.fixture
def traced(starter: RelayStarter, collector: Collector) -> RelayStarter:
    """Start relays that export to the collector, each with a tracer of its own."""
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == collector.url
    return replace(starter, make_tracer=make_tracer)


def make_tracer() -> Tracer | None:
    return open_tracer(os.environ, version="1.2.3", replica="relay-1")
