"""One connection: pipelined requests, and its end."""

from collections.abc import Callable
from functools import partial

import pytest

from app.server.limits import Limits
from tests.api.relay_harness import RelayStarter
from tests.server.raw_http import OTHER_BODY, PATIENCE_SECONDS, await_that, write_request
from tests.server.served import Paths, Served, serve

pytestmark = pytest.mark.usefixtures("quiet")


def test_connection_serves_one_event_after_another(served: Served, paths: Paths) -> None:
    with served.open() as client:
        for number in range(20):
            answer = client.ask(write_request(f"evt_again_{number}"))
            assert answer.document == {"event_id": f"evt_again_{number}", "status": "accepted"}
            assert b"connection" not in answer.fields
        assert client.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200
    assert (paths.fast, paths.regular) == (20, 1)


@pytest.mark.parametrize("count", [2, 50])
def test_events_in_one_piece_are_answered_in_their_order(
    served: Served, paths: Paths, count: int
) -> None:
    ids = [f"evt_{count}_{number}" for number in range(count)]
    with served.open() as client:
        client.send(b"".join(write_request(event_id) for event_id in ids))
        assert [client.read().document["event_id"] for _ in ids] == ids
        assert client.ask(write_request(f"evt_{count}_last")).status == 202
    assert (paths.fast, paths.regular) == (count + 1, 0)
    assert all(len(served.find_bodies(event_id)) == 1 for event_id in ids)


def test_requests_of_every_kind_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    piece = (
        write_request("evt_mixed")
        + b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n"
        + write_request("evt_mixed", OTHER_BODY)
        + write_request("evt_mixed")
    )
    for pieces in ((piece,), (piece[:-10], piece[-10:]), (piece[:300], piece[300:])):
        with served.open() as client:
            client.send(*pieces)
            statuses = [client.read().status for _ in range(4)]
        assert statuses[1:] == [200, 409, 200]


def test_event_behind_one_that_waits_for_its_commit_is_answered_after_it(served: Served) -> None:
    with served.open() as client:
        with served.hold_store():
            client.send(write_request("evt_before"), write_request("evt_behind"))
        assert client.read().document["event_id"] == "evt_before"
        assert client.read().document["event_id"] == "evt_behind"


@pytest.mark.parametrize(
    "request_",
    [
        partial(write_request, http="1.0"),
        partial(write_request, connection="close"),
        partial(write_request, connection="Close, TE"),
        lambda event_id: write_request(event_id, http="1.0", connection="keep-alive"),
    ],
    ids=["http-1.0", "close", "close-and-more", "http-1.0-keep-alive"],
)
def test_event_on_a_connection_that_is_to_end_ends_it(
    starter: RelayStarter, request_: Callable[[str], bytes]
) -> None:
    with serve(starter) as relay, relay.open() as client:
        answer = client.ask(request_("evt_1"))
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert client.is_ended()


def test_event_that_ends_the_connection_drops_following_bytes(served: Served) -> None:
    with served.open() as client:
        client.send(write_request("evt_final", connection="close") + write_request("evt_dropped"))
        assert client.read().document["event_id"] == "evt_final"
        assert client.is_ended()
    assert served.find_bodies("evt_dropped") == []


def test_event_with_rubbish_behind_it_is_answered_before_the_rubbish_is_rejected(
    served: Served,
) -> None:
    with served.open() as client:
        client.send(write_request("evt_rubbish") + b"\x00\x01rubbish\r\n\r\n")
        assert client.read().document["event_id"] == "evt_rubbish"
        refused = client.read()
        assert (refused.status, refused.document["code"]) == (400, "request-malformed")
        assert refused.fields[b"connection"] == b"close"
        assert client.is_ended()
    assert len(served.find_bodies("evt_rubbish")) == 1


def test_idle_connection_ends_after_the_answer_and_not_before(starter: RelayStarter) -> None:
    with serve(starter, limits=Limits(idle_seconds=0)) as relay, relay.open() as client:
        with relay.hold_store():
            client.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1)
            client.socket.settimeout(PATIENCE_SECONDS)
        answer = client.read()
        assert (answer.status, b"connection" in answer.fields) == (202, False)
        assert client.is_ended()
