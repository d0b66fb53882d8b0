"""One log line for each webhook request, and the ids that tie it to the sender's logs."""

import json
import logging
from typing import Any

import httpx
import pytest

from tests.api.relay_harness import RelayStarter, RunningRelay, full_disk, make_body

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
IDS = {
    "x-request-id": "req-1",
    "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01",
}
CREATED = make_body("membership.created")
COMMON = {"client": "127.0.0.1", "request_id": "req-1", "trace_id": TRACE_ID}


def read_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the fields of the lines about webhooks, with the message and no duration."""
    lines: list[dict[str, Any]] = []
    for record in caplog.records:
        if record.name == "app.api.webhook_log":
            lines.append({"message": record.getMessage(), **vars(record)["fields"]})
            assert lines[-1].pop("duration_ms") >= 0
    return lines


async def send_some(relay: RunningRelay) -> None:
    """Send an accepted event, a batch, a rejected event and one that cannot be stored."""
    await relay.send(CREATED, "evt_1", headers=IDS)
    await relay.send_batch({"id": "evt_2", **CREATED})
    await relay.send(CREATED | {"data": {}}, "evt_3", headers=IDS)
    with full_disk():
        await relay.send(CREATED, "evt_4", headers=IDS)


async def test_all_logs_one_line_for_each_request(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with starter.start(log_webhooks="all") as relay:
        await relay.send(CREATED, "evt_1", headers=IDS)
        await relay.send(CREATED, "evt_1", headers=IDS)
        await relay.send(CREATED, "evt_2", headers=IDS | {"prefer": "wait=10"})
        await relay.send(make_body("membership.updated"), "evt_1", headers=IDS)
        with full_disk():
            await relay.send(CREATED, "evt_4", headers=IDS)
    first, again, waited, conflict, unavailable = read_lines(caplog)
    assert first == COMMON | {
        "message": "accepted /webhooks",
        "event_id": "evt_1",
        "type": "membership.created",
        "status": 202,
        "code": "accepted",
    }
    assert (again["status"], again["code"]) == (200, "duplicate")
    assert (waited["event_id"], waited["status"]) == ("evt_2", 200)
    assert waited["code"] in ("applied", "superseded")
    assert conflict == COMMON | {
        "message": "rejected /webhooks: EventIdConflict (This webhook-id was stored before with a"
        " different body.)",
        "event_id": "evt_1",
        "type": "membership.updated",
        "status": 409,
        "code": "event-id-conflict",
        "reason": "This webhook-id was stored before with a different body.",
    }
    assert (unavailable["status"], unavailable["code"]) == (503, "store-unavailable")


async def test_batch_is_one_line_with_the_number_of_each_result(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with starter.start(log_webhooks="all") as relay:
        await relay.send_batch(
            {"id": "evt_1", **CREATED},
            {"id": "evt_1", **CREATED},
            {"id": "evt_1", **make_body("membership.updated")},
            {"id": "evt_2", **make_body("trip.created")},
            "none",
        )
    (line,) = read_lines(caplog)
    counts = {
        name: line[name] for name in ("events", "accepted", "duplicate", "conflict", "invalid")
    }
    assert counts == {"events": 5, "accepted": 2, "duplicate": 1, "conflict": 1, "invalid": 1}
    assert (line["event_id"], line["status"]) == ("batch_1", 202)


@pytest.mark.parametrize(("mode", "logged"), [("rejected", ["evt_3"]), ("off", [])])
async def test_other_modes_log_less(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture, mode: str, logged: list[str]
) -> None:
    caplog.set_level("INFO")
    async with starter.start(log_webhooks=mode) as relay:
        await send_some(relay)
    assert [line["event_id"] for line in read_lines(caplog)] == logged


async def test_line_of_a_stranger_has_nothing_that_is_malformed_or_too_long(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    strange = {
        "webhook-id": "x" * 256,
        "x-request-id": "y" * 129,
        "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01-more",
    }
    await relay.post("/webhooks", json.dumps(CREATED).encode(), strange)
    (line,) = read_lines(caplog)
    assert line.keys() == {
        "message",
        "status",
        "code",
        "reason",
        "client",
        "request_id",
    }
    assert "xxx" not in caplog.text
    assert len(line["request_id"]) == 32


@pytest.mark.parametrize("mode", ["all", "rejected", "off"])
async def test_every_response_repeats_the_ids(starter: RelayStarter, mode: str) -> None:
    async with starter.start(log_webhooks=mode, max_in_flight=1) as relay:
        content = json.dumps(CREATED).encode()
        responses = [
            await relay.send(CREATED, headers=IDS),
            await relay.send(CREATED, headers=IDS | {"prefer": "wait=1"}),
            await relay.send(make_body("user.created"), headers=IDS),
            await relay.send({}, headers=IDS),
            await relay.post("/webhooks", content, IDS),
            await relay.post("/webhooks", b" " * 70_000, IDS),
            await relay.send(CREATED, headers=IDS | {"content-type": "text/plain"}),
            await relay.http.get("/webhooks", headers=IDS),
            await relay.http.put("/webhooks/batch", headers=IDS),
            await relay.send({"events": []}, path="/webhooks/batch", headers=IDS),
            await relay.send(
                {"events": [{"id": "evt_2", **CREATED}]}, path="/webhooks/batch", headers=IDS
            ),
        ]
        with relay.app.state.services.in_flight.acquire():
            responses.append(await relay.send(CREATED, headers=IDS))
    assert [response.status_code for response in responses] == [
        202,
        200,
        409,
        422,
        401,
        413,
        415,
        405,
        405,
        422,
        202,
        429,
    ]
    for response in responses:
        assert {name: response.headers.get(name) for name in IDS} == IDS
        assert count_fields(response, "x-request-id") == 1


def count_fields(response: httpx.Response, name: str) -> int:
    return [field.lower() for field, _ in response.headers.raw].count(name.encode())


async def test_response_without_given_ids_has_one_that_the_log_has_too(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    response = await relay.post("/webhooks", b"{}")
    (line,) = read_lines(caplog)
    assert response.headers["x-request-id"] == line["request_id"]


async def test_event_is_stored_and_shown_with_the_ids_of_its_first_request(
    relay: RunningRelay,
) -> None:
    await relay.send(CREATED, "evt_1", headers=IDS)
    await relay.send(CREATED, "evt_1", headers=IDS | {"x-request-id": "req-2"})
    await relay.send(CREATED, "evt_2")
    found = [(await relay.look_up(event_id)).json() for event_id in ("evt_1", "evt_2")]
    assert [(each["request_id"], each["trace_id"]) for each in found] == [
        ("req-1", TRACE_ID),
        (None, None),
    ]


async def test_webhooks_below_the_level_are_not_logged(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with starter.start(log_webhooks="all") as relay:
        await relay.send(CREATED, "evt_1")
    assert read_lines(caplog) == []
