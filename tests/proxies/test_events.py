"""Every request that the contract accepts is accepted through a proxy too."""

import json
from typing import Final

import pytest

from tests.e2e.conftest import RelayProcess
from tests.proxies.conftest import read_stored_ids
from tests.proxies.wire import Client, make_batch, make_event, write_chunks, write_request

KIB: Final = 1024
EVENT_BYTES: Final = 64 * KIB
BATCH_BYTES: Final = 1024 * KIB
# Around the sizes of buffers: a page, nginx's 8 and 16 KiB, Go's 4 and 32 KiB.
SIZES: Final = (
    0,
    *(size * KIB + more for size in (1, 4, 8, 16, 32, 48) for more in (-1, 0, 1)),
    *range(3_001, EVENT_BYTES, 5_003),
    EVENT_BYTES - 1,
    EVENT_BYTES,
)


@pytest.mark.parametrize("chunk_bytes", [None, 1_000, EVENT_BYTES], ids=str)
def test_event_of_any_size_is_accepted(
    relay: RelayProcess, client: Client, chunk_bytes: int | None
) -> None:
    events = [make_event(relay.secret, size_bytes=size) for size in SIZES]
    assert max(len(event.body) for event in events) == EVENT_BYTES
    for event in events:
        answer = client.post(event, chunk_bytes=chunk_bytes)
        assert answer.status == 202, (len(event.body), answer)
        assert answer.document == {"event_id": event.event_id, "status": "accepted"}
    assert {event.event_id for event in events} <= read_stored_ids(relay)


@pytest.mark.parametrize("chunk_bytes", [None, 50_000], ids=str)
@pytest.mark.parametrize("size_bytes", [0, 200 * KIB, BATCH_BYTES])
def test_batch_of_up_to_a_mebibyte_is_accepted(
    relay: RelayProcess, client: Client, size_bytes: int, chunk_bytes: int | None
) -> None:
    batch = make_batch(relay.secret, 3, size_bytes=size_bytes)
    answer = client.post(batch, "/webhooks/batch", chunk_bytes=chunk_bytes)
    assert answer.status == 202, answer
    ids = {each["event_id"] for each in answer.document["results"]}
    assert ids == {each["id"] for each in json.loads(batch.body)["events"]}
    assert ids <= read_stored_ids(relay)


def test_body_that_is_too_large_is_refused_and_the_next_event_accepted(
    relay: RelayProcess, client: Client
) -> None:
    for target, limit in (("/webhooks", EVENT_BYTES), ("/webhooks/batch", BATCH_BYTES)):
        for chunk_bytes in (None, 50_000):
            large = make_event(relay.secret, size_bytes=limit + 1)
            assert client.post(large, target, chunk_bytes=chunk_bytes).status == 413
            client.close()
            assert client.post(make_event(relay.secret)).status == 202


def test_signatures_on_several_header_lines_are_one_list(
    relay: RelayProcess, client: Client
) -> None:
    forged = "v1,bm90IGEgc2lnbmF0dXJl"
    for lines in (["<good>", forged], [forged, "<good>"], [f"{forged} {forged}", "v2,x", "<good>"]):
        event = make_event(relay.secret)
        headers = [pair for pair in event.headers.items() if pair[0] != "webhook-signature"]
        signature = event.headers["webhook-signature"]
        headers += [("webhook-signature", line.replace("<good>", signature)) for line in lines]
        assert client.ask(write_request("/webhooks", headers, event.body)).status == 202
    headers[-len(lines) :] = [("webhook-signature", forged), ("webhook-signature", "v1,eA==")]
    assert client.ask(write_request("/webhooks", headers, event.body)).status == 401


@pytest.mark.parametrize("is_chunked", [False, True])
def test_sender_that_waits_for_100_continue_receives_it(
    relay: RelayProcess, client: Client, is_chunked: bool
) -> None:
    event = make_event(relay.secret)
    headers = {**event.headers, "Expect": "100-continue"}
    chunk_bytes = 100 if is_chunked else None
    request = write_request("/webhooks", headers, event.body, chunk_bytes=chunk_bytes)
    body = write_chunks(event.body, 100) if is_chunked else event.body
    client.send(request.removesuffix(body))
    assert client.read_any().status == 100
    assert client.ask(body).document == {"event_id": event.event_id, "status": "accepted"}


def test_repeated_event_is_a_duplicate(relay: RelayProcess, client: Client) -> None:
    event = make_event(relay.secret)
    assert [client.post(event).status for _ in range(3)] == [202, 200, 200]


def test_health_is_answered_to_get_and_head(client: Client) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        answer = client.ask(write_request(path, {}, method="GET"), method="GET")
        assert (answer.status, answer.document["status"] in ("ok", "degraded")) == (200, True)
        head = client.ask(write_request(path, {}, method="HEAD"), method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == answer.headers["content-type"]
