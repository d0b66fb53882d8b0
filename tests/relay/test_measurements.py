"""Metrics, with clocks that step."""

from app.domain.instants import after
from app.relay.measurements import Measurements
from app.store.outcome_queries import Applied
from app.store.store import Store
from tests.histories import NOW, World
from tests.store.store_steps import claim


async def test_lag_after_the_clock_was_set_back_is_not_negative(sqlite_store: Store) -> None:
    measurements = Measurements()
    await sqlite_store.store_events([World().trip("created")], NOW)
    picked = await claim(sqlite_store, NOW, 10)
    measurements.count_outcomes([Applied(entity) for entity in picked], after(NOW, -3600))
    name, labels = "relay_lag_seconds_sum", {"takes_access": "false"}
    assert measurements.registry.get_sample_value(name, labels) == 0.0
