"""The spans that a relay exports to a real collector, from a request to its events' outcomes."""

import json
import logging
import os
from dataclasses import replace
from typing import Any

import pytest

from app.observability.trace_environment import open_tracer
from tests.api.relay_harness import (
    USER,
    RelayStarter,
    full_disk,
    make_body,
    number_ids,
    refuse_rows,
)
from tests.fake_postgrest import is_write
from tests.observability.collector import CollectedSpan, Collector
from tests.server.raw_http import write_request
from tests.server.served import Paths, serve

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "vendor=value"}
UNSAMPLED = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}
CREATED = make_body("user.created")
WAIT = {"prefer": "wait=10"}


def only(spans: list[CollectedSpan]) -> CollectedSpan:
    (span,) = spans
    return span


async def test_event_has_a_span_from_its_receipt_until_it_is_applied(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        await relay.send(CREATED, headers=SAMPLED | WAIT)
    request = only(collector.find("POST /webhooks"))
    assert (request.trace_id, request.parent, request.kind) == (TRACE_ID, SPAN_ID, "SERVER")
    assert request.trace_state == "vendor=value"
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/webhooks",
        "http.response.status_code": 200,
        "relay.event_id": "evt_1",
        "relay.event_type": "user.created",
        "relay.code": "applied",
    }
    event = only(collector.find("event user.created"))
    assert (event.trace_id, event.parent, event.kind) == (*request.context, "INTERNAL")
    assert event.attributes == {
        "relay.event_id": "evt_1",
        "relay.event_type": "user.created",
        "relay.entity": f"user/{USER}",
        "relay.status": "applied",
    }
    apply = only(collector.find("relay_apply"))
    assert (apply.trace_id, apply.parent, apply.kind) == (*request.context, "CLIENT")
    assert apply.links == [request.context]
    assert event.links == [apply.context]
    # The first request after a claim may be a probe.
    assert apply.attributes.pop("relay.sequence") in (1, 2)
    assert apply.attributes == {
        "relay.epoch": 1,
        "relay.operations": 1,
        "relay.rows": 1,
        "relay.outcome": "applied",
        "relay.not_tried": 0,
    }
    assert not any(span.is_error for span in collector.spans)


async def test_event_span_begins_at_the_receipt_and_ends_when_supabase_holds_the_row(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        relay.postgrest.hang(of=is_write)
        await relay.send(CREATED)
        await relay.postgrest.wait_for_hanging()
        relay.clock.advance(3)
        relay.postgrest.release()
        relay.postgrest.heal()
        await relay.send_and_wait(CREATED)
    event = only(collector.find("event user.created"))
    assert event.ended_ns - event.began_ns == 3_000_000_000
    apply = only(collector.find("relay_apply"))
    assert (apply.began_ns, apply.ended_ns) == (event.began_ns, event.ended_ns)


@pytest.mark.parametrize("headers", [SAMPLED, {}])
def test_fast_path_and_regular_path_give_the_same_spans(
    traced: RelayStarter, collector: Collector, headers: dict[str, str]
) -> None:
    users = number_ids(2)
    with serve(traced) as served, served.open() as client:
        paths = Paths(served)
        for event_id, more in (("evt_1", {}), ("evt_2", {"prefer": "return=minimal"})):
            body = json.dumps(make_body("user.created", id=next(users))).encode()
            answer = client.ask(write_request(event_id, body, **headers, **more))
            assert answer.status == 202
            assert answer.fields.get(b"traceparent", b"").decode() == headers.get("traceparent", "")
        assert (paths.fast, paths.regular) == (1, 1)
        collector.wait_for("event user.created", 2)
    fast, regular = (_forget_ids(span) for span in _sort(collector.find("POST /webhooks")))
    assert fast == regular
    fast, regular = (_forget_ids(span) for span in _sort(collector.find("event user.created")))
    assert fast == regular


def _sort(spans: list[CollectedSpan]) -> list[CollectedSpan]:
    return sorted(spans, key=lambda span: span.attributes["relay.event_id"])


def _forget_ids(span: CollectedSpan) -> dict[str, Any]:
    """Return what the spans of two events have in common."""
    fields = {name: getattr(span, name) for name in ("name", "kind", "trace_state", "is_error")}
    own = ("relay.event_id", "relay.entity")
    attributes = {name: value for name, value in span.attributes.items() if name not in own}
    is_of_sender = span.trace_id == TRACE_ID, span.parent == SPAN_ID, bool(span.parent)
    return fields | {"attributes": attributes, "ids": is_of_sender, "links": len(span.links)}


async def test_unsampled_trace_exports_nothing_and_is_stored_as_without_tracing(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        await relay.send(CREATED, headers=UNSAMPLED | WAIT)
        found = (await relay.look_up("evt_1")).json()
    assert (found["request_id"], found["trace_id"]) == (TRACE_ID, TRACE_ID)
    assert [span.name for span in collector.spans] == ["GET /events/{event_id:path}"]
    assert relay.query("SELECT trace FROM events") == [(f"{TRACE_ID} {TRACE_ID}",)]


async def test_sampler_of_the_environment_decides(
    traced: RelayStarter, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with traced.start() as relay:
        await relay.send(CREATED, "evt_1", headers=WAIT)
        await relay.send(make_body("trip.created"), "evt_2", headers=WAIT | SAMPLED)
    assert [span.attributes["relay.event_id"] for span in collector.find("POST /webhooks")] == [
        "evt_2"
    ]
    assert only(collector.find("relay_apply")).trace_id == TRACE_ID


async def test_trace_that_the_relay_begins_is_in_the_log_and_stored(
    traced: RelayStarter, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with traced.start(log_webhooks="all") as relay:
        response = await relay.send(CREATED, headers={"x-request-id": "req-1"} | WAIT)
        found = (await relay.look_up("evt_1")).json()
    request = only(collector.find("POST /webhooks"))
    assert request.parent == ""
    assert (found["request_id"], found["trace_id"]) == ("req-1", request.trace_id)
    assert "traceparent" not in response.headers
    (line,) = [each for each in caplog.records if each.name == "app.api.webhook_log"]
    fields = vars(line)["fields"]
    assert (fields["trace_id"], fields["span_id"]) == request.context


async def test_trace_survives_a_restart_between_receipt_and_apply(
    traced: RelayStarter, collector: Collector
) -> None:
    traced.postgrest.break_connection()
    async with traced.start() as relay:
        await relay.send(CREATED, headers=SAMPLED)
    traced.postgrest.heal()

    def make_other_tracer() -> Any:
        return open_tracer(os.environ, version="1.2.3", replica="relay-2")

    async with replace(traced, make_tracer=make_other_tracer).start() as relay:
        await relay.send_and_wait(CREATED)
    # They may arrive in any order, and the clock stands still.
    found = {
        span.resource["service.instance.id"]: span for span in collector.find("POST /webhooks")
    }
    request, again = found["relay-1"], found["relay-2"]
    assert again.attributes["relay.code"] == "applied"
    event = only(collector.find("event user.created"))
    assert (event.trace_id, event.parent) == request.context
    assert event.resource["service.instance.id"] == "relay-2"


async def test_superseded_event_ends_with_the_outcome_of_its_entity(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        relay.postgrest.hang(of=is_write)
        await relay.send(CREATED, "evt_1", headers=SAMPLED)
        await relay.postgrest.wait_for_hanging()
        await relay.send(make_body("user.updated", at="2026-01-02T03:00:01Z"), "evt_2")
        relay.postgrest.release()
        relay.postgrest.heal()
        await relay.send(
            make_body("user.updated", at="2026-01-02T03:00:01Z"), "evt_2", headers=WAIT
        )
    superseded = only(collector.find("event user.created"))
    applied = only(collector.find("event user.updated"))
    assert superseded.attributes["relay.status"] == "superseded"
    assert applied.attributes["relay.status"] == "applied"
    assert superseded.links == applied.links == [collector.find("relay_apply")[-1].context]


async def test_replayed_event_has_no_second_span(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        await relay.send(CREATED, headers=WAIT)
        relay.clock.advance(1)
        await relay.replay({"event_ids": ["evt_1"]})
        await relay.postgrest.wait_for_writes(2)
    assert len(collector.find("event user.created")) == 1
    assert len(collector.find("relay_apply")) == 2


async def test_dead_event_is_an_error_with_its_sqlstate(
    traced: RelayStarter, collector: Collector
) -> None:
    refuse_rows(traced.postgrest)
    async with traced.start() as relay:
        assert await relay.send_and_wait(CREATED) == "dead"
    event = only(collector.find("event user.created"))
    assert event.is_error
    assert event.attributes["relay.status"] == "dead"
    assert event.attributes["error.type"] == "23514"
    apply = only(collector.find("relay_apply"))
    assert not apply.is_error
    assert apply.attributes["relay.failed"] == 1
    assert apply.attributes["relay.failure_codes"] == ["23514"]


async def test_failed_request_to_supabase_is_an_error_and_its_event_has_no_span_yet(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        await relay.postgrest.wait_for_requests(1)
        relay.postgrest.respond_with(503)
        await relay.send(CREATED, headers=SAMPLED)
        collector.wait_for("POST /webhooks")
        await relay.postgrest.wait_for_requests(3)
    apply = collector.find("relay_apply")[0]
    assert apply.is_error
    assert apply.trace_id == TRACE_ID
    assert apply.attributes["relay.outcome"] == "outage"
    assert apply.attributes["error.type"] == "HTTP 503"
    assert collector.find("event user.created") == []


async def test_batch_has_one_span_with_counts_and_each_event_its_own(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        await relay.send_batch(
            {"id": "evt_1", **CREATED},
            {"id": "evt_2", **make_body("trip.created")},
            {"id": "evt_3"},
        )
        await relay.send_and_wait(make_body("trip.created"), "evt_2")
    request = only(collector.find("POST /webhooks/batch"))
    counts = {name: request.attributes[f"relay.{name}"] for name in ("events", "accepted")}
    assert counts == {"events": 3, "accepted": 2}
    for name in ("event user.created", "event trip.created"):
        assert only(collector.find(name)).parent == request.span_id


async def test_request_to_supabase_links_to_at_most_128_events(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        relay.postgrest.hang(of=is_write)
        await relay.send(make_body("trip.created"), "evt_trip")
        await relay.postgrest.wait_for_hanging()
        ids = list(number_ids(130))
        for user_id in ids:
            await relay.send(make_body("user.created", id=user_id), user_id)
        relay.postgrest.release()
        relay.postgrest.heal()
        await relay.send_and_wait(make_body("user.created", id=ids[-1]), ids[-1])
    _, apply = sorted(collector.find("relay_apply"), key=lambda span: len(span.links))
    assert apply.attributes["relay.rows"] == 130
    assert len(apply.links) == 128
    assert len(collector.find("event user.created")) == 130


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (CREATED, {"webhook-signature": "v1,no"}, 401, "unauthenticated"),
        (CREATED | {"data": {}}, {}, 422, "input-invalid"),
    ],
)
async def test_rejected_webhook_is_no_error_and_has_its_problem_code(
    traced: RelayStarter,
    collector: Collector,
    body: object,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    async with traced.start() as relay:
        response = await relay.send(body, headers=headers)
    request = only(collector.find("POST /webhooks"))
    assert not request.is_error
    assert request.attributes["http.response.status_code"] == status
    assert request.attributes["relay.code"] == response.json()["code"] == code


async def test_webhook_that_cannot_be_stored_is_an_error(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        with full_disk():
            await relay.send(CREATED)
    request = only(collector.find("POST /webhooks"))
    assert request.is_error
    assert request.attributes["error.type"] == "503"


async def test_other_requests_are_named_by_their_route(
    traced: RelayStarter, collector: Collector
) -> None:
    async with traced.start() as relay:
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            await relay.http.get(path)
        await relay.http.get("/nowhere/secret?token=secret", headers=SAMPLED)
        await relay.http.get("/replay/secret?token=secret", headers=relay.bear("events:read"))
    unknown, replay = sorted(collector.spans, key=lambda span: span.name)
    assert (unknown.name, unknown.trace_id, unknown.parent) == ("GET", TRACE_ID, SPAN_ID)
    assert replay.name == "GET /replay/{replay_id}"
    assert replay.attributes["http.route"] == "/replay/{replay_id}"
    assert "secret" not in repr(collector.spans)


async def test_spans_hold_no_personal_data(traced: RelayStarter, collector: Collector) -> None:
    async with traced.start() as relay:
        await relay.send(CREATED, headers=WAIT)
    assert "ada" not in repr(collector.spans)


async def test_resource_is_the_relay_unless_the_environment_names_another(
    traced: RelayStarter, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with traced.start() as relay:
        await relay.send(CREATED, headers=WAIT)
    resource = collector.spans[0].resource
    assert resource["service.name"] == "supabase-sync-relay"
    assert (resource["service.version"], resource["service.instance.id"]) == ("1.2.3", "relay-1")
    collector.spans.clear()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "trips-relay")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of-the-vendor")
    async with traced.start() as relay:
        await relay.send(CREATED, headers=WAIT)
    resource = collector.spans[0].resource
    assert resource["service.name"] == "trips-relay"
    assert resource["deployment.environment.name"] == "test"
    assert {name.lower(): value for name, value in collector.headers[-1].items()}[
        "x-key"
    ] == "of-the-vendor"


async def test_failing_collector_is_logged_once_and_events_are_accepted(
    traced: RelayStarter, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    collector.status = 400
    async with traced.start() as relay:
        for event_id in number_ids(20):
            assert (
                await relay.send_and_wait(make_body("user.created", id=event_id), event_id)
                == "applied"
            )
            await relay.http.get("/health")
    lines = [each for each in caplog.records if each.name == "app.observability.tracing"]
    assert {each.levelno for each in lines} == {logging.WARNING}
    assert len(lines) == 2, [each.getMessage() for each in lines]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in lines[-1].getMessage()
    assert not [each for each in caplog.records if each.name.startswith("opentelemetry")]
