"""Which events are taken without a task, and which go the long way."""

import json
import time
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from tests.api.lines import BODY, await_that, cut, write_chunked, write_request
from tests.api.running import RelayStarter, make_body
from tests.api.serving import Served, Ways, serve

pytestmark = pytest.mark.usefixtures("quiet")


def test_event_that_arrives_whole_is_taken_without_a_task(served: Served, ways: Ways) -> None:
    with served.open() as line:
        answer = line.ask(write_request("evt_whole"))
    assert answer.line == b"HTTP/1.1 202 Accepted"
    assert answer.body == b'{"event_id": "evt_whole", "status": "accepted"}'
    assert (ways.short, ways.long) == (1, 0)
    assert len(served.find_bodies("evt_whole")) == 1


def test_event_has_the_date_of_now(served: Served) -> None:
    with served.open() as line:
        fields = line.ask(write_request("evt_dated")).fields
    assert abs(parsedate_to_datetime(fields[b"date"].decode()).timestamp() - time.time()) < 5
    assert fields.keys() == {b"date", b"content-type", b"content-length"}


def test_event_whose_body_comes_after_its_headers_goes_the_long_way(
    served: Served, ways: Ways
) -> None:
    with served.open() as line:
        assert line.ask(*cut(write_request("evt_halves"))).status == 202
    assert (ways.short, ways.long) == (0, 1)


def test_event_that_comes_byte_by_byte_is_taken(served: Served, ways: Ways) -> None:
    request = write_request("evt_bytes")
    with served.open() as line:
        answer = line.ask(*(request[n : n + 1] for n in range(len(request))))
    assert answer.document == {"event_id": "evt_bytes", "status": "accepted"}
    assert (ways.short, ways.long) == (0, 1)


def test_event_whose_first_piece_ends_in_its_headers_goes_the_long_way(
    served: Served, ways: Ways
) -> None:
    request = write_request("evt_late_headers")
    with served.open() as line:
        assert line.ask(request[:40], request[40:]).status == 202
        assert line.ask(write_request("evt_after_it")).status == 202
    assert (ways.short, ways.long) == (1, 1)


def test_event_behind_the_beginning_of_another_is_read_as_its_rest(
    served: Served, ways: Ways
) -> None:
    # What looks like a request of its own is the body that was announced.
    inner = write_request("evt_inner")
    outer = write_request("evt_outer", inner)
    with served.open() as line:
        answer = line.ask(*cut(outer))
        assert (answer.status, answer.document["code"]) == (422, "input-invalid")
        assert line.ask(write_request("evt_after_outer")).status == 202
    assert (ways.short, ways.long) == (1, 1)
    assert served.find_bodies("evt_inner") == []


def test_event_of_which_only_the_beginning_is_signed_is_refused_when_it_is_whole(
    served: Served, ways: Ways
) -> None:
    with served.open() as line:
        line.send(write_request("evt_prefix", content_length=str(len(BODY) + 2)))
        assert ways.long == 1
        assert line.ask(b"  ").status == 401
    assert served.find_bodies("evt_prefix") == []


def test_event_in_chunks_that_arrive_together_is_taken_without_a_task(
    served: Served, ways: Ways
) -> None:
    with served.open() as line:
        assert line.ask(write_chunked("evt_chunks")).status == 202
        assert line.ask(write_chunked("evt_chunks")).status == 200
    assert (ways.short, ways.long) == (2, 0)
    (data,) = served.find_bodies("evt_chunks")
    assert json.loads(data) == json.loads(BODY)["data"]


def test_event_of_a_sender_who_waits_goes_the_long_way(served: Served, ways: Ways) -> None:
    with served.open() as line:
        answer = line.ask(write_request("evt_waits", BODY, "Prefer: wait=10"))
    assert (answer.status, answer.fields[b"preference-applied"]) == (200, b"wait=10")
    assert answer.document["status"] in ("applied", "superseded")
    assert (ways.short, ways.long) == (0, 1)


def test_event_of_a_sender_who_waits_for_the_go_ahead_is_given_it(
    served: Served, ways: Ways
) -> None:
    head, body = cut(write_request("evt_expects", BODY, "Expect: 100-continue"))
    with served.open() as line:
        assert line.ask(head).line == b"HTTP/1.1 100 Continue"
        assert line.ask(body).status == 202
    assert (ways.short, ways.long) == (0, 1)


def test_event_of_a_sender_who_does_not_wait_for_the_go_ahead_gets_its_answer_alone(
    served: Served,
) -> None:
    # RFC 9110, 10.1.1: with the content there, 100 may be left out.
    with served.open() as line:
        assert line.ask(write_request("evt_hurries", BODY, "Expect: 100-continue")).status == 202
        assert line.ask(write_request("evt_hurries")).status == 200


@pytest.mark.parametrize("target", ["/%77ebhooks", "/webhooks?a=b&a=%2F"])
def test_event_to_a_path_written_otherwise_goes_the_long_way(
    served: Served, ways: Ways, target: str
) -> None:
    with served.open() as line:
        assert line.ask(write_request(f"evt_{len(target)}", target=target)).status == 202
    assert (ways.short, ways.long) == (0, 1)


@pytest.mark.parametrize("connection", ["keep-alive", "Keep-Alive"])
def test_event_that_asks_for_what_is_given_anyway_is_taken_without_a_task(
    served: Served, ways: Ways, connection: str
) -> None:
    with served.open() as line:
        assert line.ask(write_request(f"evt_{connection}", connection=connection)).status == 202
        assert line.ask(write_request(f"evt_{connection}")).status == 200
    assert (ways.short, ways.long) == (2, 0)


def test_event_behind_the_first_letter_of_another_is_part_of_it(served: Served, ways: Ways) -> None:
    with served.open() as line:
        line.send(b"P", write_request("evt_letter"))
        assert line.read().line == b"HTTP/1.1 400 Bad Request"
    assert (ways.short, ways.long) == (0, 0)


def test_event_behind_an_empty_line_is_taken_without_a_task(served: Served, ways: Ways) -> None:
    # RFC 9112, 2.2: a server ignores an empty line before a request.
    with served.open() as line:
        assert line.ask(b"\r\n", write_request("evt_line")).status == 202
    assert (ways.short, ways.long) == (1, 0)


def test_event_after_a_request_that_is_no_http_is_not_taken(served: Served, ways: Ways) -> None:
    with served.open() as line:
        line.send(write_request("evt_broken", content_length="x"))
        assert line.read().line == b"HTTP/1.1 400 Bad Request"
        assert line.is_ended()
    assert (ways.short, ways.long) == (0, 0)


def test_event_that_is_taken_without_a_task_is_written_to_supabase(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as line:
        # The second finds a dispatcher that has nothing to do and no reason of its own to look.
        for table, kind in (("users", "user"), ("trips", "trip")):
            body = json.dumps(make_body(f"{kind}.created")).encode()
            assert line.ask(write_request(f"evt_{kind}", body)).status == 202
            await_that(partial(starter.postgrest.rows, table))
            await_that(lambda: "relay_pending_entities 0.0" in relay.read_metrics())
        assert relay.taken == 2


@pytest.mark.parametrize(
    ("mode", "status"), [("hmac", 202), ("any", 202), ("both", 401), ("jwt", 401)]
)
def test_signature_alone_is_taken_at_once_only_where_it_is_enough(
    starter: RelayStarter, mode: str, status: int
) -> None:
    with serve(starter, webhook_auth=mode, max_in_flight=1) as relay, relay.open() as line:
        whole = line.ask(write_request("evt_1"))
        pieces = line.ask(*cut(write_request("evt_1")))
        assert whole.status == status
        assert relay.taken == (status == 202)
        if status == 401:
            assert whole.undated() == pieces.undated()
