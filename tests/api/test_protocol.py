"""An event that arrives whole: taken without a task, and answered as if it had had one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from app.api.bodies import EVENT_BYTES
from app.domain.failpoints import Failpoint
from tests.api.lines import BODY, OTHER_BODY, Line, await_that, cut, write_chunked, write_request
from tests.api.running import RelayStarter, full_disk
from tests.api.serving import Served, Ways, serve

pytestmark = pytest.mark.usefixtures("quiet")


# --- the same answer on either way ---


def _duplicate(line: Line, event_id: str) -> bytes:
    line.ask(write_request(event_id))
    return write_request(event_id)


def _conflict(line: Line, event_id: str) -> bytes:
    line.ask(write_request(event_id))
    return write_request(event_id, OTHER_BODY)


def _plain(*extra: str, **changes: Any) -> Callable[[Line, str], bytes]:
    def write(_: Line, event_id: str) -> bytes:
        return write_request(event_id, changes.get("content", BODY), *extra, **_rest(changes))

    return write


def _rest(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name != "content"}


SAME: Final[Mapping[str, tuple[int, Callable[[Line, str], bytes]]]] = {
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
    "media-type-twice-the-last-right": (
        202,
        _plain("Content-Type: application/json;charset=utf-8", content_type="text/plain"),
    ),
    "id-twice": (401, _plain("Webhook-Id: evt_another")),
    "signature-twice": (401, _plain("Webhook-Signature: v1,bm9uZQ==")),
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
def test_answer_is_the_same_on_either_way(served: Served, name: str) -> None:
    status, write = SAME[name]
    answers = []
    # Ids of the same length, so that nothing else may differ.
    for event_id, split in ((f"evt_same_1_{name}", False), (f"evt_same_2_{name}", True)):
        with served.open() as line:
            request = write(line, event_id)
            answer = line.ask(*cut(request)) if split else line.ask(request)
            is_last = answer.fields.get(b"connection") == b"close"
            assert line.is_ended() if is_last else _goes_on(line)
        answers.append(answer.undated())
    whole, (line_2, headers_2, body_2) = answers
    assert whole == (line_2, headers_2, body_2.replace(b"evt_same_2", b"evt_same_1"))
    assert int(line_2.split()[1]) == status


def _goes_on(line: Line) -> bool:
    return line.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200


def test_head_of_the_path_is_answered_as_ever(served: Served, ways: Ways) -> None:
    answers: list[bytes] = []
    for split in (False, True):
        with served.open() as line:
            request = write_request("evt_head", b"", method="HEAD")
            line.send(*((request[:30], request[30:]) if split else (request,)))
            await_that(lambda: ways.long == len(answers) + 1)
            await_that(line.is_answered)
            answers.append(re.sub(rb"date: [^\r]*\r\n", b"", line.read_to_end()))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 405 ")
    assert (ways.short, ways.long) == (0, 2)


def test_event_that_asks_for_another_protocol_is_refused_as_ever(
    served: Served, ways: Ways
) -> None:
    # httptools takes what follows the headers for the other protocol: the event has no body.
    request = write_request("evt_h2c", BODY, "Connection: Upgrade", "Upgrade: h2c")
    with served.open() as line:
        assert line.ask(request).status == 401
    assert (ways.short, ways.long) == (0, 1)


def test_answers_under_a_root_path_are_the_same_on_either_way(starter: RelayStarter) -> None:
    with serve(starter, options={"root_path": "/relay"}) as relay:
        answers = []
        for event_id, split in (("evt_1", False), ("evt_2", True)):
            with relay.open() as line:
                request = write_request(event_id)
                answers.append(line.ask(*cut(request)) if split else line.ask(request))
        assert [answer.status for answer in answers] == [202, 202]
        assert answers[0].headers[1:] == answers[1].headers[1:]
        assert relay.tasks.times == 2


def test_answers_without_a_store_are_the_same_on_either_way(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as line:
        assert line.ask(write_request("evt_0")).status == 202
        with full_disk():
            whole = line.ask(write_request("evt_1"))
            pieces = line.ask(*cut(write_request("evt_1")))
        assert (whole.status, whole.fields[b"retry-after"]) == (503, b"2")
        assert whole.document["code"] == "store-unavailable"
        assert whole.undated() == pieces.undated()
        assert relay.find_bodies("evt_1") == []
        # Its place is free, and with room on the disk it is new.
        assert line.ask(write_request("evt_1")).status == 202
        assert relay.count()["store-unavailable"] == 2
        assert relay.count()["accepted"] == 2


def test_answers_without_a_place_are_the_same_on_either_way(starter: RelayStarter) -> None:
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


def test_places_of_those_who_are_refused_are_free_again(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as line:
        for request, status in (
            (write_request("evt_1"), 202),
            (write_request("evt_1", OTHER_BODY), 409),
            (write_request("evt_2", b"{}"), 422),
            (write_request("evt_2", content_type="text/plain"), 415),
            (write_request("evt_2", webhook_signature="v1,bm9uZQ=="), 401),
            (write_request("evt_2"), 202),
        ):
            assert line.ask(request).status == status


def test_event_beyond_what_the_server_takes_is_refused_as_ever(starter: RelayStarter) -> None:
    with serve(starter, options={"limit_concurrency": 1}) as relay, relay.open() as line:
        answer = line.ask(write_request("evt_1"))
        assert (answer.status, answer.body) == (503, b"Service Unavailable")
        assert relay.offered == []


# --- what is counted ---


def test_events_are_counted_once_whichever_way_they_go(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        line.ask(*cut(write_request("evt_2")))
        line.ask(write_request("evt_1"))
        line.ask(*cut(write_request("evt_1")))
        line.ask(write_request("evt_1", OTHER_BODY))
        line.ask(write_request("evt_3", webhook_signature="v1,bm9uZQ=="))
        line.ask(write_request("evt_3", b"{}"))
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
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        relay.app.state.services = replace(relay.services, reach=points.append)
        assert line.ask(write_request("evt_1", OTHER_BODY)).status == 409
        with full_disk():
            assert line.ask(write_request("evt_2")).status == 503
        # What cannot be committed takes seconds to be given up; a second time, seconds more.
        assert (relay.taken, points) == (3, [Failpoint.AFTER_VERIFY] * 2)


def test_refusal_is_logged_once(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with served.open() as line:
        assert line.ask(write_request("evt_log", webhook_signature="v1,bm9uZQ==")).status == 401
    rejected = [r for r in caplog.records if r.getMessage().startswith("rejected /webhooks")]
    assert len(rejected) == 1
