"""Which events take the fast path, and which the regular path."""

import json
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial

import pytest

from tests.api.relay_harness import RelayStarter, make_body
from tests.server.raw_http import BODY, OTHER_BODY, await_that, cut, write_chunked, write_request
from tests.server.served import Paths, Served, serve

pytestmark = pytest.mark.usefixtures("quiet")


def test_event_in_one_piece_takes_the_fast_path(served: Served, paths: Paths) -> None:
    with served.open() as client:
        answer = client.ask(write_request("evt_whole"))
    assert answer.line == b"HTTP/1.1 202 Accepted"
    assert answer.body == b'{"event_id": "evt_whole", "status": "accepted"}'
    assert (paths.fast, paths.regular) == (1, 0)
    assert len(served.find_bodies("evt_whole")) == 1


def test_response_has_the_current_date_and_nothing_superfluous(served: Served) -> None:
    with served.open() as client:
        fields = client.ask(write_request("evt_dated")).fields
    assert abs(parsedate_to_datetime(fields[b"date"].decode()).timestamp() - time.time()) < 5
    assert fields.keys() == {b"date", b"content-type", b"content-length", b"x-request-id"}


def test_event_with_a_body_after_its_head_takes_the_fast_path(served: Served, paths: Paths) -> None:
    with served.open() as client:
        assert client.ask(*cut(write_request("evt_halves"))).status == 202
    assert (paths.fast, paths.regular) == (1, 0)


def test_event_byte_by_byte_takes_the_fast_path(served: Served, paths: Paths) -> None:
    request = write_request("evt_bytes")
    with served.open() as client:
        answer = client.ask(*(request[n : n + 1] for n in range(len(request))))
    assert answer.document == {"event_id": "evt_bytes", "status": "accepted"}
    assert (paths.fast, paths.regular) == (1, 0)


def test_event_in_chunks_takes_the_fast_path(served: Served, paths: Paths) -> None:
    with served.open() as client:
        assert client.ask(write_chunked("evt_chunks")).status == 202
        assert client.ask(*cut(write_chunked("evt_chunks"))).status == 200
    assert (paths.fast, paths.regular) == (2, 0)
    (data,) = served.find_bodies("evt_chunks")
    assert json.loads(data) == json.loads(BODY)["data"]


def test_body_that_looks_like_an_event_is_a_body(served: Served, paths: Paths) -> None:
    inner = write_request("evt_inner")
    outer = write_request("evt_outer", inner)
    with served.open() as client:
        answer = client.ask(*cut(outer))
        assert (answer.status, answer.document["code"]) == (422, "input-invalid")
        assert client.ask(write_request("evt_after_outer")).status == 202
    assert (paths.fast, paths.regular) == (1, 1)
    assert served.find_bodies("evt_inner") == []


def test_event_of_which_only_the_beginning_is_signed_is_rejected_when_it_is_whole(
    served: Served, paths: Paths
) -> None:
    with served.open() as client:
        client.send(write_request("evt_prefix", content_length=str(len(BODY) + 2)))
        assert client.ask(b"  ").status == 401
    assert (paths.fast, paths.regular) == (0, 1)
    assert served.find_bodies("evt_prefix") == []


def test_event_that_waits_for_supabase_takes_the_regular_path(served: Served, paths: Paths) -> None:
    with served.open() as client:
        answer = client.ask(write_request("evt_waits", BODY, "Prefer: wait=10"))
    assert (answer.status, answer.fields[b"preference-applied"]) == (200, b"wait=10")
    assert answer.document["status"] in ("applied", "superseded")
    assert (paths.fast, paths.regular) == (0, 1)


@pytest.mark.parametrize("write", [write_request, write_chunked])
def test_client_that_expects_100_continue_gets_it(
    served: Served, paths: Paths, write: Callable[[str, bytes, str], bytes]
) -> None:
    event_id = f"evt_expects_{write.__name__}"
    head, body = cut(write(event_id, BODY, "Expect: 100-continue"))
    with served.open() as client:
        assert client.ask(head).line == b"HTTP/1.1 100 Continue"
        assert client.ask(body).status == 202
        assert client.ask(write_request(event_id)).status == 200
    assert (paths.fast, paths.regular) == (2, 0)


def test_client_that_does_not_wait_for_100_continue_gets_its_answer_alone(
    served: Served,
) -> None:
    # RFC 9110, 10.1.1: with the content there, 100 may be left out.
    with served.open() as client:
        assert client.ask(write_request("evt_hurries", BODY, "Expect: 100-continue")).status == 202
        assert client.ask(write_request("evt_hurries")).status == 200


def test_client_that_expects_100_continue_for_too_large_a_body_is_rejected_at_once(
    served: Served,
) -> None:
    head, _ = cut(
        write_request("evt_large", BODY, "Expect: 100-continue", content_length="99999999")
    )
    with served.open() as client:
        assert client.ask(head).status == 413
        assert client.is_ended()


@pytest.mark.parametrize("target", ["/%77ebhooks", "/webhooks?a=b&a=%2F", "http://x.test/webhooks"])
def test_event_to_the_path_in_another_spelling_takes_the_regular_path(
    served: Served, paths: Paths, target: str
) -> None:
    with served.open() as client:
        assert client.ask(write_request(f"evt_{len(target)}", target=target)).status == 202
    assert (paths.fast, paths.regular) == (0, 1)


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: keep-alive",),
        ("Connection: Keep-Alive",),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: websocket"),
    ],
    ids=["keep-alive", "Keep-Alive", "h2c", "websocket"],
)
def test_event_with_connection_options_takes_the_fast_path(
    served: Served, paths: Paths, fields: tuple[str, ...]
) -> None:
    event_id = f"evt_options_{'_'.join(fields)}".replace(" ", "")[:100]
    with served.open() as client:
        assert client.ask(write_request(event_id, BODY, *fields)).status == 202
        assert client.ask(*cut(write_request(event_id, BODY, *fields))).status == 200
    assert (paths.fast, paths.regular) == (2, 0)


def test_event_behind_the_first_letter_of_another_is_part_of_it(
    served: Served, paths: Paths
) -> None:
    with served.open() as client:
        client.send(b"P", write_request("evt_letter"))
        assert client.read().line == b"HTTP/1.1 400 Bad Request"
        assert client.is_ended()
    assert (paths.fast, paths.regular) == (0, 0)


def test_event_behind_empty_lines_takes_the_fast_path(served: Served, paths: Paths) -> None:
    # RFC 9112, 2.2: a server ignores an empty line before a request.
    with served.open() as client:
        assert client.ask(b"\r\n", write_request("evt_line")).status == 202
        assert client.ask(b"\r\n\r\n" + write_request("evt_line")).status == 200
    assert (paths.fast, paths.regular) == (2, 0)


def test_event_on_the_fast_path_is_written_to_supabase(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as client:
        # The second finds an idle dispatcher.
        for table, kind in (("users", "user"), ("trips", "trip")):
            body = json.dumps(make_body(f"{kind}.created")).encode()
            assert client.ask(write_request(f"evt_{kind}", body)).status == 202
            await_that(partial(starter.postgrest.rows, table))
            await_that(lambda: "relay_pending_entities 0.0" in relay.read_metrics())
        assert relay.taken == 2


def test_event_on_the_fast_path_is_timed_once_it_is_durable(starter: RelayStarter) -> None:
    count = 'relay_receive_duration_seconds_count{endpoint="event"}'
    with serve(starter) as relay, relay.open() as client:
        assert f"{count} 0.0" in relay.read_metrics()
        assert client.ask(write_request("evt_1")).status == 202
        assert client.ask(write_request("evt_1")).status == 200
        # Another body under this id.
        assert client.ask(write_request("evt_1", OTHER_BODY)).status == 409
        await_that(lambda: f"{count} 2.0" in relay.read_metrics())
        assert relay.taken == 3


@pytest.mark.parametrize(
    ("mode", "status", "again"),
    [("hmac", 202, 200), ("any", 202, 200), ("both", 401, 401), ("jwt", 401, 401)],
)
def test_signature_alone_takes_the_fast_path_only_where_it_is_enough(
    starter: RelayStarter, mode: str, status: int, again: int
) -> None:
    with serve(starter, webhook_auth=mode, max_in_flight=1) as relay, relay.open() as client:
        assert client.ask(write_request("evt_1")).status == status
        assert client.ask(*cut(write_request("evt_1"))).status == again
        assert relay.taken == 2 * (status == 202)
