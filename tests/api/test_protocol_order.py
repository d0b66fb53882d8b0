"""One connection: events behind one another, in one piece or cut, and what ends it."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.api.lines import OTHER_BODY, PATIENCE_SECONDS, await_that, write_request
from tests.api.running import RelayStarter
from tests.api.serving import Served, Ways, serve

pytestmark = pytest.mark.usefixtures("quiet")


def test_connection_takes_one_event_after_another(served: Served, ways: Ways) -> None:
    with served.open() as line:
        for number in range(20):
            answer = line.ask(write_request(f"evt_again_{number}"))
            assert answer.document == {"event_id": f"evt_again_{number}", "status": "accepted"}
            assert b"connection" not in answer.fields
        assert line.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200
    assert (ways.short, ways.long) == (20, 1)


@pytest.mark.parametrize("count", [2, 50])
def test_events_in_one_piece_are_answered_in_their_order(
    served: Served, ways: Ways, count: int
) -> None:
    ids = [f"evt_{count}_{number}" for number in range(count)]
    with served.open() as line:
        line.send(b"".join(write_request(event_id) for event_id in ids))
        assert [line.read().document["event_id"] for _ in ids] == ids
        assert line.ask(write_request(f"evt_{count}_last")).status == 202
    assert (ways.short, ways.long) == (1, count)
    assert all(len(served.find_bodies(event_id)) == 1 for event_id in ids)


def test_requests_of_every_kind_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    piece = (
        write_request("evt_mixed")
        + b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n"
        + write_request("evt_mixed", OTHER_BODY)
        + write_request("evt_mixed")
    )
    for pieces in ((piece,), (piece[:-10], piece[-10:]), (piece[:300], piece[300:])):
        with served.open() as line:
            line.send(*pieces)
            statuses = [line.read().status for _ in range(4)]
        assert statuses[1:] == [200, 409, 200]


def test_event_behind_one_that_waits_for_its_commit_is_answered_after_it(served: Served) -> None:
    with served.open() as line:
        with served.hold_store():
            line.send(write_request("evt_before"), write_request("evt_behind"))
        assert line.read().document["event_id"] == "evt_before"
        assert line.read().document["event_id"] == "evt_behind"


@pytest.mark.parametrize(
    "request_",
    [
        partial(write_request, http="1.0"),
        partial(write_request, connection="close"),
        partial(write_request, connection="Close, TE"),
    ],
    ids=["http-1.0", "close", "close-and-more"],
)
def test_event_on_a_connection_that_is_to_end_ends_it(
    served: Served, ways: Ways, request_: Callable[[str], bytes]
) -> None:
    event_id = f"evt_ends_{len(served.tasks)}_{served.tasks.times}"
    with served.open() as line:
        answer = line.ask(request_(event_id))
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert line.is_ended()
    assert (ways.short, ways.long) == (0, 1)


def test_event_that_ends_the_connection_has_what_follows_it_dropped(served: Served) -> None:
    with served.open() as line:
        line.send(write_request("evt_final", connection="close") + write_request("evt_dropped"))
        assert line.read().document["event_id"] == "evt_final"
        assert line.is_ended()
    assert served.find_bodies("evt_dropped") == []


def test_event_with_rubbish_behind_it_is_stored_once_and_ends_the_connection(
    served: Served,
) -> None:
    with served.open() as line:
        # uvicorn's own answer overtakes: it says that the connection is no good any more.
        line.send(write_request("evt_rubbish") + b"\x00\x01rubbish\r\n\r\n")
        assert line.read().fields[b"connection"] == b"close"
        assert line.is_ended()
    await_that(lambda: served.find_bodies("evt_rubbish"))
    assert len(served.find_bodies("evt_rubbish")) == 1


def test_idle_connection_ends_after_the_answer_and_not_before(starter: RelayStarter) -> None:
    with serve(starter, options={"timeout_keep_alive": 0}) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            line.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                line.socket.recv(1)
            line.socket.settimeout(PATIENCE_SECONDS)
        answer = line.read()
        assert (answer.status, b"connection" in answer.fields) == (202, False)
        assert line.is_ended()
