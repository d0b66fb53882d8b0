"""`GET /metrics`."""

from prometheus_client.parser import text_string_to_metric_families

from tests.api.relay_harness import RunningRelay, make_body


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
