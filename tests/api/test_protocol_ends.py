"""Events that are stored while their sender does not read, is gone, or the relay stops."""

import json
import socket
from collections.abc import Callable
from functools import partial

import pytest

from tests.api.lines import BODY, OTHER_BODY, Line, await_that, cut, write_request
from tests.api.running import RelayStarter
from tests.api.serving import Served, Ways, serve

pytestmark = pytest.mark.usefixtures("quiet")


# --- a sender who does not read ---


def test_sender_who_does_not_read_is_held_up_and_loses_nothing(served: Served, ways: Ways) -> None:
    with served.open(receive_buffer_bytes=4096) as line:
        protocol = line.protocol
        # What the kernel takes is not for the relay to bound; here it is little.
        sending: socket.socket = protocol.transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        protocol.loop.call_soon_threadsafe(
            partial(protocol.transport.set_write_buffer_limits, high=2048)
        )
        sent = 0
        while not protocol.flow.write_paused:
            assert sent < 2000, "the relay does not notice"
            sent += 1
            line.send(write_request(f"evt_unread_{sent}"))
            await_that(lambda: protocol.cycle.response_complete or protocol.flow.write_paused)
        await_that(lambda: protocol.cycle.response_complete)
        assert (ways.short, ways.long) == (sent, 0)
        line.send(*(write_request(f"evt_unread_{sent + n}") for n in (1, 2)))
        await_that(lambda: served.find_bodies(f"evt_unread_{sent + 1}"))
        # The next is stored and waits to be answered; who is behind it waits, and no more is read.
        assert (ways.short, ways.long) == (sent, 1)
        assert (protocol.cycle.response_complete, protocol.flow.read_paused) == (False, True)
        line.send_without_waiting(write_request(f"evt_unread_{sent + 3}"))
        ids = [line.read().document["event_id"] for _ in range(sent + 3)]
    assert ids == [f"evt_unread_{n + 1}" for n in range(sent + 3)]


# --- a sender who is gone ---


@pytest.mark.parametrize("leave", [Line.break_off, Line.close], ids=["reset", "closed"])
@pytest.mark.parametrize("behind", [0, 2], ids=["alone", "with-others-behind"])
def test_event_of_a_sender_who_is_gone_is_stored_and_its_place_is_free(
    starter: RelayStarter, leave: Callable[[Line], None], behind: int
) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.hold_store():
            line = relay.open()
            first, *others = (write_request(f"evt_{n}") for n in range(1 + behind))
            line.send(first, b"".join(others))
            await_that(lambda: relay.taken == 1)
            leave(line)
            # While others wait behind it nothing is read, so that it shows only afterwards.
            await_that(lambda: behind or not relay.connections)
        await_that(lambda: relay.find_bodies("evt_0"))
        with relay.open() as next_:
            await_that(lambda: next_.ask(write_request("evt_next")).status != 429)
            assert next_.ask(write_request("evt_next")).status == 200
        await_that(lambda: not relay.connections)


def test_conflict_of_a_sender_who_is_gone_leaves_nothing_behind(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.open() as line:
            line.ask(write_request("evt_1"))
        with relay.hold_store():
            line = relay.open()
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            line.break_off()
            await_that(lambda: not relay.connections)
        with relay.open() as next_:
            await_that(lambda: next_.ask(write_request("evt_2")).status != 429)
        (data,) = relay.find_bodies("evt_1")
        assert json.loads(data)["username"] == "ada"
        await_that(lambda: not relay.tasks)


# --- the relay stops ---


def test_event_that_waits_for_its_commit_while_the_relay_stops_is_answered(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answer = line.read()
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert line.is_ended()
        assert relay.tasks.times == 0


def test_conflict_that_waits_for_its_commit_while_the_relay_stops_is_answered(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        with relay.hold_store():
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answer = line.read()
        assert (answer.status, answer.fields[b"connection"]) == (409, b"close")
        assert line.is_ended()


def test_event_that_outlasts_the_patience_of_a_stop_is_still_answered(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"timeout_graceful_shutdown": 0}
    with serve(starter, options=options) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            # The store commits what waits before it lets go.
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        assert line.read().status == 202


def test_conflict_that_outlasts_the_patience_of_a_stop_is_not_answered_as_taken(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"timeout_graceful_shutdown": 0}
    with serve(starter, options=options) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        with relay.hold_store():
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        # The store is closed, or closes while it is looked at again.
        assert line.read().status in (409, 503)


@pytest.mark.parametrize("is_late", [False, True], ids=["waiting", "arriving"])
def test_event_whose_sender_waits_for_supabase_while_the_relay_stops_is_accepted(
    starter: RelayStarter, *, is_late: bool
) -> None:
    starter.postgrest.break_connection()
    first, rest = cut(write_request("evt_1", BODY, "Prefer: wait=30"))
    with serve(starter) as relay, relay.open() as line:
        line.send(first)
        if not is_late:
            line.send(rest)
            await_that(lambda: relay.find_bodies("evt_1") != [])
        relay.stop()
        await_that(lambda: line.protocol.is_stopping)
        if is_late:
            line.send(rest)
        answer = line.read()
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert answer.document == {"event_id": "evt_1", "status": "accepted"}
        assert line.is_ended()


def test_events_behind_one_another_are_all_answered_while_the_relay_stops(
    starter: RelayStarter,
) -> None:
    ids = ["evt_1", "evt_2", "evt_3"]
    with serve(starter) as relay, relay.open() as line:
        with relay.hold_store():
            first, *others = map(write_request, ids)
            line.send(first, b"".join(others))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answers = [line.read() for _ in ids]
        assert [answer.document["event_id"] for answer in answers] == ids
        assert [b"connection" in answer.fields for answer in answers] == [False, False, True]
        assert line.is_ended()


def test_events_of_senders_who_are_gone_when_the_relay_stops_are_stored(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ["evt_1", "evt_2", "evt_3"]
    with serve(starter) as relay, relay.hold_store():
        lines = []
        for event_id in ids:
            line = relay.open()
            line.send(write_request(event_id))
            lines.append(line)
        await_that(lambda: relay.taken == len(ids))
        for line in lines:
            line.break_off()
        await_that(lambda: not relay.connections)
        relay.stop()
        await_that(lambda: "Waiting for application shutdown." in caplog.messages)
    assert all(len(relay.find_bodies(event_id)) == 1 for event_id in ids)
