"""Events of senders that do not read or disconnect, or that arrive while the relay stops."""

import json
from collections.abc import Callable

import pytest

from tests.api.relay_harness import RelayStarter
from tests.server.raw_http import BODY, OTHER_BODY, RawConnection, await_that, cut, write_request
from tests.server.served import Paths, Served, serve

pytestmark = pytest.mark.usefixtures("quiet")


# Senders that do not read


def test_sender_that_does_not_read_is_paused_and_loses_nothing(
    served: Served, paths: Paths
) -> None:
    with served.open(receive_buffer_bytes=4096) as client:
        protocol = client.protocol
        # What the kernel accepts is not for the relay to bound; here it is little.
        protocol.shrink_write_buffers(4096)
        sent = 0
        while not protocol.is_blocked:
            assert sent < 2000, "the relay does not notice"
            sent += 1
            client.send(write_request(f"evt_unread_{sent}"))
            await_that(lambda: not protocol.is_busy)
        # What comes now waits in the socket.
        client.send_without_waiting(write_request(f"evt_unread_{sent + 1}"))
        client.send_without_waiting(write_request(f"evt_unread_{sent + 2}"))
        await_that(lambda: not protocol.is_reading)
        assert served.find_bodies(f"evt_unread_{sent + 1}") == []
        ids = [client.read().document["event_id"] for _ in range(sent + 2)]
    assert ids == [f"evt_unread_{n + 1}" for n in range(sent + 2)]
    assert (paths.fast, paths.regular) == (sent + 2, 0)


# Senders that disconnect


@pytest.mark.parametrize(
    "leave", [RawConnection.break_off, RawConnection.close], ids=["reset", "closed"]
)
@pytest.mark.parametrize("behind", [0, 2], ids=["alone", "with-others-behind"])
def test_event_of_a_disconnected_sender_is_stored_and_its_slot_is_free(
    starter: RelayStarter, leave: Callable[[RawConnection], None], behind: int
) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.hold_store():
            client = relay.open()
            first, *others = (write_request(f"evt_{n}") for n in range(1 + behind))
            client.send(first, b"".join(others))
            await_that(lambda: relay.taken == 1)
            leave(client)
            # While others wait behind it nothing is read, so that it shows only afterwards.
            await_that(lambda: behind or not relay.connections)
        await_that(lambda: relay.find_bodies("evt_0"))
        with relay.open() as next_:
            await_that(lambda: next_.ask(write_request("evt_next")).status != 429)
            assert next_.ask(write_request("evt_next")).status == 200
        await_that(lambda: not relay.connections)


def test_conflict_of_a_disconnected_sender_leaves_no_trace(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.open() as client:
            client.ask(write_request("evt_1"))
        with relay.hold_store():
            client = relay.open()
            client.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            client.break_off()
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
    with serve(starter) as relay, relay.open() as client:
        with relay.hold_store():
            client.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: client.protocol.is_stopping)
        answer = client.read()
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert client.is_ended()
        assert relay.tasks.times == 0


def test_conflict_that_waits_for_its_commit_while_the_relay_stops_is_answered(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as client:
        client.ask(write_request("evt_1"))
        with relay.hold_store():
            client.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: client.protocol.is_stopping)
        answer = client.read()
        assert (answer.status, answer.fields[b"connection"]) == (409, b"close")
        assert client.is_ended()


def test_event_that_outlasts_the_patience_of_a_stop_is_still_answered(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(starter, shutdown_seconds=0) as relay, relay.open() as client:
        with relay.hold_store():
            client.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            # The store commits what waits before it lets go.
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        assert client.read().status == 202


def test_conflict_that_outlasts_the_patience_of_a_stop_is_not_answered_as_taken(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(starter, shutdown_seconds=0) as relay, relay.open() as client:
        client.ask(write_request("evt_1"))
        with relay.hold_store():
            client.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        # The store is closed, or closes while it is looked at again.
        assert client.read().status in (409, 503)


@pytest.mark.parametrize("is_late", [False, True], ids=["waiting", "arriving"])
def test_event_with_a_waiting_sender_while_the_relay_stops_is_accepted(
    starter: RelayStarter, *, is_late: bool
) -> None:
    starter.postgrest.break_connection()
    first, rest = cut(write_request("evt_1", BODY, "Prefer: wait=30"))
    with serve(starter) as relay, relay.open() as client:
        client.send(first)
        if not is_late:
            client.send(rest)
            await_that(lambda: relay.find_bodies("evt_1") != [])
        relay.stop()
        await_that(lambda: client.protocol.is_stopping)
        if is_late:
            client.send(rest)
        answer = client.read()
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert answer.document == {"event_id": "evt_1", "status": "accepted"}
        assert client.is_ended()


def test_event_behind_another_is_neither_stored_nor_answered_once_the_relay_stops(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as client:
        with relay.hold_store():
            client.send(write_request("evt_1"), write_request("evt_2"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: client.protocol.is_stopping)
        answer = client.read()
        assert answer.document == {"event_id": "evt_1", "status": "accepted"}
        assert answer.fields[b"connection"] == b"close"
        assert client.is_ended()
    assert relay.find_bodies("evt_2") == []


def test_events_of_disconnected_senders_when_the_relay_stops_are_stored(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ["evt_1", "evt_2", "evt_3"]
    with serve(starter) as relay, relay.hold_store():
        clients = []
        for event_id in ids:
            client = relay.open()
            client.send(write_request(event_id))
            clients.append(client)
        await_that(lambda: relay.taken == len(ids))
        for client in clients:
            client.break_off()
        await_that(lambda: not relay.connections)
        relay.stop()
        await_that(lambda: "Waiting for application shutdown." in caplog.messages)
    assert all(len(relay.find_bodies(event_id)) == 1 for event_id in ids)
