"""Responses are the same for whole and cut requests, on the fast and the regular path."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from app.api.request_body import EVENT_BYTES
from app.domain.failpoints import Failpoint
from tests.api.relay_harness import RelayStarter, full_disk
from tests.server.raw_http import (
    BODY,
    OTHER_BODY,
    Answer,
    RawConnection,
    await_that,
    cut,
    write_chunked,
    write_request,
)
from tests.server.served import Paths, Served, serve

pytestmark = pytest.mark.usefixtures("quiet")


def _duplicate(client: RawConnection, event_id: str) -> bytes:
    client.ask(write_request(event_id))
    return write_request(event_id)


def _conflict(client: RawConnection, event_id: str) -> bytes:
    client.ask(write_request(event_id))
    return write_request(event_id, OTHER_BODY)


def _plain(*extra: str, **changes: Any) -> Callable[[RawConnection, str], bytes]:
    def write(_: RawConnection, event_id: str) -> bytes:
        return write_request(event_id, changes.get("content", BODY), *extra, **_rest(changes))

    return write


def _rest(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name != "content"}


SAME: Final[Mapping[str, tuple[int, Callable[[RawConnection, str], bytes]]]] = {
    "accepted": (202, _plain()),
    "duplicate": (200, _duplicate),
    "conflict": (409, _conflict),
    "chunked": (202, lambda _, event_id: write_chunked(event_id)),
    "http-1.0": (202, _plain(http="1.0")),
    "close": (202, _plain(connection="close")),
    "bad-signature": (401, _plain(webhook_signature="v1,bm9uZQ==")),
    "no-signature": (401, _plain(webhook_signature="")),
    "old": (401, _plain(webhook_timestamp="1")),
    "not-json": (422, _plain(content=b'{"type": ')),
    "not-utf-8": (422, _plain(content=b"\xff\xfe")),
    "no-body": (422, _plain(content=b"")),
    "unknown-type": (422, _plain(content=BODY.replace(b"user.created", b"user.sang"))),
    "another-media-type": (415, _plain(content_type="text/plain")),
    "no-media-type": (415, _plain(content_type="")),
    "longest-body": (202, _plain(content=BODY.ljust(EVENT_BYTES))),
    "too-long-body": (413, _plain(content=BODY.ljust(EVENT_BYTES + 1))),
    "media-type-twice": (415, _plain("Content-Type: text/plain")),
    "media-type-twice-the-same": (415, _plain("Content-Type: application/json")),
    "gzip": (415, _plain("Content-Encoding: gzip")),
    "gzip-and-more": (415, _plain("Content-Encoding: identity", "Content-Encoding: gzip")),
    "identity": (202, _plain("Content-Encoding: identity")),
    "id-twice": (401, _plain("Webhook-Id: evt_another")),
    "timestamp-twice": (401, _plain("Webhook-Timestamp: 1767323045")),
    "another-signature-behind": (202, _plain("Webhook-Signature: v1,bm9uZQ==")),
    "another-signature-before": (
        202,
        lambda _, event_id: write_request(event_id).replace(
            b"webhook-signature:", b"Webhook-Signature: v1,bm9uZQ==\r\nwebhook-signature:"
        ),
    ),
    "upgrade": (202, _plain("Connection: Upgrade", "Upgrade: h2c")),
    "close-and-keep-alive": (202, _plain("Connection: keep-alive", connection="close")),
    "keep-alive-and-close": (202, _plain("Connection: close", connection="keep-alive")),
    "odd-preference": (202, _plain("Prefer: respond-async")),
    "query": (202, _plain(target="/webhooks?wait=10")),
    "percent-encoded": (202, _plain(target="/%77ebhooks")),
    "another-path": (404, _plain(target="/webhook")),
    "slash-behind": (404, _plain(target="/webhooks/")),
    "double-slash": (404, _plain(target="//webhooks")),
    "put": (405, _plain(method="PUT")),
    "get": (405, _plain(method="GET")),
}


@pytest.mark.parametrize("name", SAME)
def test_answer_is_the_same_in_one_piece_in_two_and_on_the_regular_path(
    served: Served, name: str
) -> None:
    status, write = SAME[name]
    answers = []
    # Ids of the same length, so that nothing else may differ.
    for number, send in enumerate((_send_whole, _send_in_two, _send_the_regular_way)):
        event_id = f"evt_same_{number}_{name}"
        with served.open() as client:
            answer = send(client, write(client, event_id))
            is_last = answer.fields.get(b"connection") == b"close"
            assert client.is_ended() if is_last else _goes_on(client)
        line, headers, body = answer.undated()
        answers.append((line, headers, body.replace(event_id.encode(), b"evt")))
    assert answers[0] == answers[1] == answers[2]
    assert int(answers[0][0].split()[1]) == status


def _send_whole(client: RawConnection, request: bytes) -> Answer:
    return client.ask(request)


def _send_in_two(client: RawConnection, request: bytes) -> Answer:
    return client.ask(*cut(request))


def _send_the_regular_way(client: RawConnection, request: bytes) -> Answer:
    # A preference that means nothing, which the fast path leaves to the other.
    line, _, rest = request.partition(b"\r\n")
    return client.ask(b"%b\r\nPrefer: respond-async\r\n%b" % (line, rest))


def _goes_on(client: RawConnection) -> bool:
    return client.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200


def test_head_request_to_the_fast_path_gets_a_405(served: Served, paths: Paths) -> None:
    answers: list[bytes] = []
    for split in (False, True):
        with served.open() as client:
            request = write_request("evt_head", b"", method="HEAD")
            client.send(*((request[:30], request[30:]) if split else (request,)))
            await_that(lambda: paths.regular == len(answers) + 1)
            await_that(client.is_answered)
            answers.append(re.sub(rb"date: [^\r]*\r\n", b"", client.read_to_end()))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 405 ")
    assert (paths.fast, paths.regular) == (0, 2)


def test_responses_without_a_store_are_the_same_on_both_paths(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as client:
        assert client.ask(write_request("evt_0")).status == 202
        with full_disk():
            whole = client.ask(write_request("evt_1"))
            pieces = client.ask(*cut(write_request("evt_1")))
        assert (whole.status, whole.fields[b"retry-after"]) == (503, b"2")
        assert whole.document["code"] == "store-unavailable"
        assert whole.undated() == pieces.undated()
        assert relay.find_bodies("evt_1") == []
        # Its place is free, and with room on the disk it is new.
        assert client.ask(write_request("evt_1")).status == 202
        assert relay.count()["store-unavailable"] == 2
        assert relay.count()["accepted"] == 2


def test_responses_without_a_free_slot_are_the_same_on_both_paths(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as first:
        with relay.hold_store():
            first.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            with relay.open() as second:
                whole = second.ask(write_request("evt_2"))
                pieces = second.ask(*cut(write_request("evt_2")))
        assert (whole.status, whole.fields[b"retry-after"]) == (429, b"1")
        assert whole.document["code"] == "overloaded"
        assert whole.undated() == pieces.undated()
        assert first.read().status == 202
        # The place is free again.
        assert first.ask(write_request("evt_2")).status == 202
        assert relay.taken == 2


def test_slots_of_rejected_requests_are_released(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as client:
        for request, status in (
            (write_request("evt_1"), 202),
            (write_request("evt_1", OTHER_BODY), 409),
            (write_request("evt_2", b"{}"), 422),
            (write_request("evt_2", content_type="text/plain"), 415),
            (write_request("evt_2", webhook_signature="v1,bm9uZQ=="), 401),
            (write_request("evt_2"), 202),
        ):
            assert client.ask(request).status == status


# --- what is counted ---


def test_events_are_counted_once_whichever_way_they_go(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as client:
        client.ask(write_request("evt_1"))
        client.ask(*cut(write_request("evt_2")))
        client.ask(write_request("evt_1"))
        client.ask(*cut(write_request("evt_1")))
        client.ask(write_request("evt_1", OTHER_BODY))
        client.ask(write_request("evt_3", webhook_signature="v1,bm9uZQ=="))
        client.ask(write_request("evt_3", b"{}"))
        counted = relay.count()
    assert {name: count for name, count in counted.items() if count} == {
        "accepted": 2,
        "duplicate": 2,
        "conflict": 1,
        "event-id-conflict": 1,
        "unauthenticated": 1,
        "input-invalid": 1,
    }


def test_event_that_is_not_stored_is_offered_to_the_store_once(starter: RelayStarter) -> None:
    points: list[Failpoint] = []
    with serve(starter) as relay:
        with relay.open() as client:
            client.ask(write_request("evt_1"))
        relay.app.state.services = replace(relay.services, hit=points.append)
        with relay.open() as client:
            assert client.ask(write_request("evt_1", OTHER_BODY)).status == 409
            with full_disk():
                assert client.ask(write_request("evt_2")).status == 503
        # What cannot be committed takes seconds to be given up; a second time, seconds more.
        assert (relay.taken, points) == (3, [Failpoint.AFTER_VERIFY] * 2)


def test_rejection_is_logged_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with served.open() as client:
        assert client.ask(write_request("evt_log", webhook_signature="v1,bm9uZQ==")).status == 401
    rejected = [r for r in caplog.records if r.getMessage().startswith("rejected /webhooks")]
    assert len(rejected) == 1


@pytest.mark.parametrize("target", ["/webhooks", "/webhooks/batch?a=b"])
def test_request_that_the_server_rejects_is_answered_and_logged_with_its_ids(
    served: Served, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    head, _ = cut(write_request("evt_large", target=target, content_length="99999999"))
    with served.open() as client:
        answer = client.ask(head)
    assert (answer.status, answer.fields[b"x-request-id"]) == (413, b"req-1")
    (record,) = [each for each in caplog.records if each.name == "app.api.webhook_log"]
    path = target.partition("?")[0]
    assert record.getMessage().startswith(f"rejected {path}: BodyTooLarge (")
    fields = vars(record)["fields"]
    assert (fields["event_id"], fields["client"]) == ("evt_large", "127.0.0.1")


def test_bytes_that_are_no_request_are_answered_with_an_id_of_their_own(served: Served) -> None:
    answers = []
    for _ in range(2):
        with served.open() as client:
            assert client.ask(write_request("evt_before")).fields[b"x-request-id"] == b"req-1"
            answers.append(client.ask(b"NONSENSE\r\n\r\n").fields[b"x-request-id"])
    assert len(set(answers) | {b"req-1"}) == 3


def test_fast_path_logs_as_the_regular_path(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    def read_lines() -> list[dict[str, object]]:
        return [
            vars(each)["fields"] for each in caplog.records if each.name == "app.api.webhook_log"
        ]

    with serve(starter, log_webhooks="all") as relay, relay.open() as client:
        for send in (_send_whole, _send_the_regular_way):
            caplog.clear()
            assert send(client, write_request("evt_1", OTHER_BODY)).status in (200, 202)
            assert send(client, write_request("evt_1")).status == 409
            with full_disk():
                assert send(client, write_request("evt_2")).status == 503
            stored, conflict, unavailable = read_lines()
            assert (stored["type"], stored["client"]) == ("user.created", "127.0.0.1")
            assert (conflict["status"], conflict["type"]) == (409, "user.created")
            assert (unavailable["status"], unavailable["code"]) == (503, "store-unavailable")
    assert relay.taken == 3
