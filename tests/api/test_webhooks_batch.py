"""`POST /webhooks/batch`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.api.request_body import BATCH_BYTES
from tests.api.relay_harness import (
    RunningRelay,
    assert_problem,
    full_disk,
    make_body,
    number_ids,
    pointers,
    stream,
)


def make_item(event_id: object, event_type: str = "user.created", **changes: Any) -> Any:
    return {"id": event_id, **make_body(event_type, **changes)}


def statuses(results: list[dict[str, Any]]) -> list[tuple[object, str]]:
    return [(result["event_id"], result["status"]) for result in results]


async def test_batch_of_new_events_accepts_each_in_order(relay: RunningRelay) -> None:
    items = [
        make_item("evt_c"),
        make_item("evt_a", "trip.created"),
        make_item("evt_b", "membership.created"),
    ]
    response = await relay.send_batch(*items)
    assert response.status_code == 202
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "results": [
            {"event_id": "evt_c", "status": "accepted"},
            {"event_id": "evt_a", "status": "accepted"},
            {"event_id": "evt_b", "status": "accepted"},
        ]
    }
    for item in items:
        body = {name: item[name] for name in ("type", "timestamp", "data")}
        assert await relay.send_and_wait(body, item["id"]) == "applied"
    for table, item in zip(("users", "trips", "trip_memberships"), items, strict=True):
        assert relay.postgrest.rows(table) == [item["data"]]


async def test_batch_with_every_kind_of_item_judges_each_alone(relay: RunningRelay) -> None:
    await relay.send(make_body("trip.created"), "evt_old")
    response = await relay.send_batch(
        make_item("evt_bad", "membership.created", role="PIRATE", status=7),
        make_item("evt_new"),
        "no event",
        make_item("evt_old", "trip.created"),
        make_item("evt_old", "trip.created", name="Porto"),
        {"type": "user.deleted", "timestamp": "2026-01-02T03:00:00Z"},
        make_item("white space", "user.deleted"),
        make_item("evt_last", "user.updated"),
    )
    assert response.status_code == 202
    results = response.json()["results"]
    assert statuses(results) == [
        ("evt_bad", "invalid"),
        ("evt_new", "accepted"),
        (None, "invalid"),
        ("evt_old", "duplicate"),
        ("evt_old", "conflict"),
        (None, "invalid"),
        (None, "invalid"),
        ("evt_last", "accepted"),
    ]
    assert [pointers(result) if "errors" in result else [] for result in results] == [
        ["/events/0/data/status"],
        [],
        ["/events/2"],
        [],
        [],
        ["/events/5/id", "/events/5/data"],
        ["/events/6/id"],
        [],
    ]
    assert "PIRATE" not in response.text
    assert relay.query("SELECT event_id FROM events ORDER BY sequence") == [
        ("evt_old",),
        ("evt_new",),
        ("evt_last",),
    ]


async def test_batch_with_an_event_twice_accepts_it_once(relay: RunningRelay) -> None:
    response = await relay.send_batch(make_item("evt_1"), make_item("evt_2"), make_item("evt_1"))
    assert response.status_code == 202
    assert statuses(response.json()["results"]) == [
        ("evt_1", "accepted"),
        ("evt_2", "accepted"),
        ("evt_1", "duplicate"),
    ]


async def test_batch_with_an_id_for_two_events_takes_the_first(relay: RunningRelay) -> None:
    response = await relay.send_batch(make_item("evt_1"), make_item("evt_1", username="bob"))
    assert response.status_code == 202
    assert statuses(response.json()["results"]) == [("evt_1", "accepted"), ("evt_1", "conflict")]


async def test_batch_sent_again_has_nothing_new(relay: RunningRelay) -> None:
    items = [make_item("evt_1"), make_item("evt_2", "trip.created")]
    await relay.send_batch(*items)
    response = await relay.send_batch(*items)
    assert response.status_code == 200
    assert statuses(response.json()["results"]) == [("evt_1", "duplicate"), ("evt_2", "duplicate")]


async def test_batch_with_nothing_valid_has_nothing_new(relay: RunningRelay) -> None:
    response = await relay.send_batch(make_item("evt_1", email=""), None)
    assert response.status_code == 200
    assert statuses(response.json()["results"]) == [("evt_1", "invalid"), (None, "invalid")]


async def test_batch_and_single_webhook_know_each_others_events(relay: RunningRelay) -> None:
    await relay.send_batch(make_item("evt_1"))
    assert (await relay.send(make_body("user.created"), "evt_1")).status_code == 200
    await relay.send(make_body("trip.created"), "evt_2")
    assert (await relay.send_batch(make_item("evt_2", "trip.created"))).status_code == 200


async def test_batch_of_the_most_events_is_accepted_and_one_more_is_not(
    relay: RunningRelay,
) -> None:
    items = [make_item(f"evt_{id_}", id=id_) for id_ in number_ids(1001)]
    response = await relay.send_batch(*items[:1000])
    assert response.status_code == 202
    assert [result["status"] for result in response.json()["results"]] == ["accepted"] * 1000
    problem = assert_problem(await relay.send_batch(*items), 422, "input-invalid")
    assert pointers(problem) == ["/events"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b'{"events": [', ""),
        (b'{"events": [], "events": []}', ""),
        ([], ""),
        ("events", ""),
        (None, ""),
        ({}, "/events"),
        ({"events": {}}, "/events"),
        ({"events": []}, "/events"),
        (make_body("user.created"), "/events"),
    ],
)
async def test_batch_that_is_none_is_invalid(
    relay: RunningRelay, body: object, pointer: str
) -> None:
    response = await relay.send(body, path="/webhooks/batch")
    assert pointers(assert_problem(response, 422, "input-invalid")) == [pointer]


@pytest.mark.parametrize("send", [bytes, stream], ids=["content-length", "chunked"])
async def test_batch_of_the_largest_size_is_accepted_and_a_byte_more_is_not(
    relay: RunningRelay, send: Callable[[bytes], Any]
) -> None:
    content = json.dumps({"events": [make_item("evt_1")]}).encode().ljust(BATCH_BYTES)
    assert len(content) == 1_048_576
    signed = relay.sign("batch_1", content)
    assert (await relay.post("/webhooks/batch", send(content), signed)).status_code == 202
    content += b" "
    signed = relay.sign("batch_1", content)
    response = await relay.post("/webhooks/batch", send(content), signed)
    assert_problem(response, 413, "body-too-large")


async def test_batch_is_signed_over_the_whole_body(relay: RunningRelay) -> None:
    content = json.dumps({"events": [make_item("evt_1")]}).encode()
    signed = relay.sign("batch_1", content)
    changed = content.replace(b"evt_1", b"evt_2")
    response = await relay.post("/webhooks/batch", changed, signed)
    assert_problem(response, 401, "unauthenticated")


async def test_batch_that_cannot_be_committed_leaves_nothing(relay: RunningRelay) -> None:
    items = [make_item("evt_1"), make_item("evt_2", "trip.created")]
    with full_disk():
        response = await relay.send_batch(*items)
    assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert relay.query("SELECT count(*) FROM events") == [(0,)]
    assert statuses((await relay.send_batch(*items)).json()["results"]) == [
        ("evt_1", "accepted"),
        ("evt_2", "accepted"),
    ]


async def test_batch_is_read_by_post_only(relay: RunningRelay) -> None:
    assert_problem(await relay.http.get("/webhooks/batch"), 405, "method-not-allowed")
