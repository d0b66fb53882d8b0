"""Metrics, with clocks that step."""

from app.domain.instants import after
from app.relay.measurements import Measurements
from app.store.outcome_queries import Applied
from app.store.store import Store
from app.supabase.exchange import Exchange
from tests.histories import NOW, World
from tests.store.store_steps import claim

HOUR = 3600
"""From the beginning of a history to NOW."""


async def test_lag_after_the_clock_was_set_back_is_not_negative(sqlite_store: Store) -> None:
    measurements = Measurements()
    await sqlite_store.store_events([World().trip("created")], NOW)
    picked = await claim(sqlite_store, NOW, 10)
    measurements.count_outcomes([Applied(entity) for entity in picked], after(NOW, -3600))
    name, labels = "relay_lag_seconds_sum", {"takes_access": "false"}
    assert measurements.registry.get_sample_value(name, labels) == 0.0


async def test_revocation_ends_when_supabase_responded_and_never_before_it_began(
    sqlite_store: Store,
) -> None:
    measurements = Measurements()
    world = World()
    events = [world.membership("deleted", at=HOUR), world.trip("created", at=HOUR)]
    await sqlite_store.store_events(events, NOW)
    picked = await claim(sqlite_store, NOW, 10)
    responded = [Applied(entity, after(NOW, 2)) for entity in picked]
    measurements.count_outcomes(responded, after(NOW, 60))
    # The source's clock is ahead.
    measurements.count_outcomes([Applied(entity, after(NOW, -9)) for entity in picked], NOW)
    name = "relay_revocation_lag_seconds"
    assert measurements.registry.get_sample_value(f"{name}_count") == 2
    assert measurements.registry.get_sample_value(f"{name}_sum") == 2.0


def test_failed_request_is_timed_and_leaves_the_last_success() -> None:
    measurements = Measurements()
    for status, ended_at in (("2xx", 100.0), ("5xx", 200.0), ("invalid", 300.0)):
        measurements.observe_exchange(Exchange("relay_apply", status, 0.5, ended_at))
        labels = {"function": "relay_apply", "status": status}
        name = "relay_supabase_request_duration_seconds_sum"
        assert measurements.registry.get_sample_value(name, labels) == 0.5
    name = "relay_supabase_last_success_timestamp_seconds"
    assert measurements.registry.get_sample_value(name) == 100.0
