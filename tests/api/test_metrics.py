"""`GET /metrics`."""

import asyncio
from importlib.metadata import version

from prometheus_client.parser import text_string_to_metric_families

from tests.api.relay_harness import (
    NOW,
    RelayStarter,
    RunningRelay,
    full_disk,
    in_time,
    make_body,
)
from tests.fake_postgrest import is_write


async def read_samples(relay: RunningRelay) -> dict[str, float]:
    """Give every sample by name and labels."""
    response = await relay.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_metrics_count_receipts_rejections_and_outcomes(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("trip.created"), "evt_1")
    await relay.send(make_body("trip.created"), "evt_1")
    await relay.send(make_body("trip.created", name=5), "evt_2")
    await relay.send(b"{}", "evt_3", headers={"webhook-signature": "v1,none"})
    samples = await read_samples(relay)
    assert samples["relay_events_total,receipt=accepted"] == 1
    assert samples["relay_events_total,receipt=duplicate"] == 1
    assert samples["relay_rejections_total,code=input-invalid"] == 1
    assert samples["relay_rejections_total,code=unauthenticated"] == 1
    assert samples["relay_outcomes_total,outcome=applied"] == 1
    assert samples["relay_lag_seconds_count,takes_access=false"] == 1


async def test_metrics_give_the_lag_of_removals_its_own_figure(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("membership.deleted"), "evt_1")
    samples = await read_samples(relay)
    assert samples["relay_lag_seconds_count,takes_access=true"] == 1
    assert "relay_lag_seconds_count,takes_access=false" not in samples


async def test_metrics_show_the_backlog_and_its_cause(relay: RunningRelay) -> None:
    relay.postgrest.break_connection()
    await relay.send(make_body("trip.created"), "evt_grant")
    relay.clock.advance(5)
    await relay.send(make_body("membership.deleted"), "evt_removal")
    relay.clock.advance(2)
    await relay.watch_health(lambda health: health["checks"]["supabase"]["status"] != "ok")
    samples = await read_samples(relay)
    assert samples["relay_pending_entities"] == 2
    assert samples["relay_dead_entities"] == 0
    assert samples["relay_oldest_pending_seconds"] == 7
    assert samples["relay_oldest_pending_removal_seconds"] == 2
    assert samples["relay_up"] == 0.5
    assert samples["relay_supabase_stops_total,kind=outage"] >= 1


async def test_metrics_show_no_personal_data(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("user.created"), "evt_1")
    text = (await relay.http.get("/metrics")).text
    assert "ada" not in text


async def test_metrics_describe_the_version_and_the_process(relay: RunningRelay) -> None:
    samples = await read_samples(relay)
    assert samples[f"relay_build_info,version={version('supabase-sync-relay')}"] == 1
    assert samples["python_gc_collections_total,generation=0"] >= 0
    if "process_resident_memory_bytes" in samples:  # on Linux
        assert samples["process_resident_memory_bytes"] > 1_000_000


async def test_metrics_have_no_series_of_when_each_began(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("trip.created"))
    assert [name for name in await read_samples(relay) if "_created" in name] == []


async def test_metrics_time_received_webhooks_and_commits(relay: RunningRelay) -> None:
    before = await read_samples(relay)
    await relay.send(make_body("trip.created"), "evt_1")
    await relay.send(make_body("trip.created"), "evt_1")
    await relay.send(make_body("trip.created", name=5), "evt_2")
    await relay.send_batch({"id": "evt_3", **make_body("user.created")})
    samples = await read_samples(relay)
    # The invalid one is counted among the rejections only.
    assert samples["relay_receive_duration_seconds_count,endpoint=event"] == 2
    assert samples["relay_receive_duration_seconds_count,endpoint=batch"] == 1
    commits = "relay_commit_duration_seconds_count"
    assert samples[commits] >= before[commits] + 3
    assert samples["relay_commit_duration_seconds_sum"] > 0


async def test_metrics_do_not_count_the_wait_for_supabase_as_receiving(
    relay: RunningRelay,
) -> None:
    relay.postgrest.hang(of=is_write)
    sending = asyncio.create_task(relay.send_and_wait(make_body("trip.created")))
    await in_time(relay.postgrest.wait_for_hanging())
    samples = await read_samples(relay)
    assert not sending.done()
    assert samples["relay_receive_duration_seconds_count,endpoint=event"] == 1
    assert samples["relay_waiting_webhooks"] == 1
    relay.clock.advance(20)
    relay.postgrest.heal()
    assert await sending == "applied"
    samples = await read_samples(relay)
    assert samples["relay_receive_duration_seconds_count,endpoint=event"] == 1
    name = "relay_supabase_request_duration_seconds_sum"
    assert samples[f"{name},function=relay_apply,status=2xx"] == 20


async def test_metrics_show_webhooks_in_flight_and_their_limit(relay: RunningRelay) -> None:
    services = relay.app.state.services
    with services.in_flight.acquire(), services.in_flight.acquire(), services.waits.acquire():
        samples = await read_samples(relay)
    assert samples["relay_in_flight_webhooks"] == 2
    assert samples["relay_waiting_webhooks"] == 1
    assert samples["relay_max_in_flight_webhooks"] == services.in_flight.limit
    samples = await read_samples(relay)
    assert (samples["relay_in_flight_webhooks"], samples["relay_waiting_webhooks"]) == (0, 0)


async def test_metrics_show_an_outage_and_when_supabase_last_responded(
    relay: RunningRelay,
) -> None:
    await relay.send_and_wait(make_body("trip.created"))
    samples = await read_samples(relay)
    assert samples["relay_leader"] == 1
    assert samples["relay_circuit_breaker_open"] == 0
    assert samples["relay_supabase_last_success_timestamp_seconds"] == NOW
    name = "relay_supabase_request_duration_seconds_count"
    assert samples[f"{name},function=relay_claim,status=2xx"] == 1
    assert samples[f"{name},function=relay_apply,status=2xx"] >= 1

    relay.postgrest.break_connection()
    relay.clock.advance(1)
    await relay.send(make_body("user.created"), "evt_2")
    await relay.watch_health(lambda health: health["checks"]["supabase"]["status"] != "ok")
    samples = await read_samples(relay)
    assert samples["relay_circuit_breaker_open"] == 1
    assert samples["relay_supabase_last_success_timestamp_seconds"] == NOW
    assert samples[f"{name},function=relay_apply,status=error"] >= 1


async def test_metrics_measure_revocations_from_the_source_on(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("membership.created", at="2026-01-02T03:00:00Z"), "evt_1")
    name = "relay_revocation_lag_seconds"
    assert (await read_samples(relay))[f"{name}_count"] == 0
    inactive = make_body("membership.updated", at="2026-01-02T03:04:00Z", status="INACTIVE")
    await relay.send_and_wait(inactive, "evt_2")
    samples = await read_samples(relay)
    # It is 03:04:05, and receiving took no time.
    assert (samples[f"{name}_count"], samples[f"{name}_sum"]) == (1, 5)


async def test_metrics_show_the_size_of_a_file_with_its_log(relay: RunningRelay) -> None:
    await relay.send(make_body("trip.created"))
    samples = await read_samples(relay)
    assert samples["relay_store_bytes,part=database"] > 0
    # The log is emptied now and then.
    assert samples["relay_store_bytes,part=write_ahead_log"] >= 0


async def test_metrics_are_served_while_neither_the_store_nor_supabase_works(
    relay: RunningRelay,
) -> None:
    relay.postgrest.break_connection()
    with full_disk():
        assert (await relay.send(make_body("trip.created"))).status_code == 503
        samples = await read_samples(relay)
    assert samples["relay_up"] == 0
    assert samples["relay_rejections_total,code=store-unavailable"] == 1
    assert samples["relay_receive_duration_seconds_count,endpoint=event"] == 0


async def test_metrics_of_replicas_name_one_leader(
    starter: RelayStarter, postgres_store_url: str
) -> None:
    async with starter.start(store_url=postgres_store_url) as first:
        await first.send_and_wait(make_body("trip.created"), "evt_1")
        async with starter.start(store_url=postgres_store_url) as second:
            first.postgrest.break_connection()
            await second.send(make_body("user.created"), "evt_2")
            await second.watch_health(lambda body: body["checks"]["supabase"]["status"] != "ok")
            both = [await read_samples(relay) for relay in (first, second)]
    assert [samples["relay_leader"] for samples in both] == [1, 0]
    # Only the leader has a circuit breaker in use.
    assert [samples["relay_circuit_breaker_open"] for samples in both] == [1, 0]
    assert both[0]["relay_store_bytes,part=tables"] > 0
    assert both[1]["relay_store_bytes,part=indexes"] > 0
