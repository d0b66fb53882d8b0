"""What Realtime's cache of the policies' answers means on the channels of a trip.

The reason for personal topics, and the proof that the small Realtime of these tests has the cache
too: without it, a test in which a removed member hears nothing would prove nothing.
"""

import pytest

from tests.docs.pages import GUIDES
from tests.e2e.conftest import await_that
from tests.frontend.listener import Listener
from tests.frontend.stack import RealtimeStack
from tests.frontend.trip import Trip


@pytest.fixture
def trip(stack: RealtimeStack) -> Trip:
    """Give a trip with the members Ana and Bo."""
    trip = Trip(stack.relay, stack.app)
    trip.add_member(trip.bo)
    return trip


@pytest.mark.parametrize("form", ["trip:{}", "trip-messages-{}"])
def test_removed_member_still_hears_and_sends_on_a_trips_channel_until_the_token_is_renewed(
    trip: Trip, form: str
) -> None:
    ana, bo, topic = Listener(trip.ana), Listener(trip.bo), form.format(trip.id)
    assert ana.join(topic)["status"] == bo.join(topic)["status"] == "SUBSCRIBED"
    assert bo.send(topic, "typing", {"by": "bo"}) == "ok"
    ana.wait_for(kind="broadcast", event="typing", payload={"by": "bo"})

    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)

    assert ana.send(topic, "typing", {"by": "ana"}) == "ok"
    bo.wait_for(kind="broadcast", event="typing", payload={"by": "ana"})
    assert bo.send(topic, "typing", {"by": "bo, still"}) == "ok"
    ana.wait_for(kind="broadcast", event="typing", payload={"by": "bo, still"})

    bo.renew_token()

    told = bo.wait_for(kind="status", status="CLOSED")
    assert told[-2]["message"] == (
        f"You do not have permissions to read from this Channel topic: {topic}"
    )
    refused = bo.join(topic)
    assert (refused["status"], refused["reason"]) == (
        "CHANNEL_ERROR",
        f"Unauthorized: You do not have permissions to read from this Channel topic: {topic}",
    )


def test_removed_member_who_was_present_still_sees_who_is(trip: Trip) -> None:
    ana, bo, topic = Listener(trip.ana), Listener(trip.bo), f"trip:{trip.id}"
    ana.join(topic)
    bo.join(topic)
    assert bo.track(topic, {"name": "bo"}) == "ok"
    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)

    assert ana.track(topic, {"name": "ana"}) == "ok"

    present = bo.wait_for(kind="presence")[-1]["present"]
    while len(present) < 2:
        present = bo.wait_for(kind="presence")[-1]["present"]
    assert sorted(metas[0]["name"] for metas in present.values()) == ["ana", "bo"]


def test_policies_are_asked_at_the_join_the_first_message_and_a_different_token(
    stack: RealtimeStack, trip: Trip
) -> None:
    bo, topic = Listener(trip.bo), f"trip:{trip.id}"

    bo.join(topic)
    for _ in range(3):
        bo.send(topic, "typing", {})
    bo.renew_token()
    bo.send(topic, "typing", {})

    assert stack.realtime.policies.list_questions(topic) == ["read", "write"] * 2


def test_public_channel_of_the_same_name_asks_nothing_and_hears_nothing_private(
    stack: RealtimeStack, trip: Trip
) -> None:
    stranger, ana, topic = Listener(stack.app.sign_up()), Listener(trip.ana), f"trip:{trip.id}"
    assert stranger.join(topic, private=False)["status"] == "SUBSCRIBED"
    assert stranger.send(topic, "typing", {}) == "ok"
    assert stack.realtime.policies.list_questions(topic) == []

    ana.join(topic)
    ana.send(topic, "typing", {"by": "ana"})
    other = Listener(stack.app.sign_up())
    other.join(topic, private=False)
    other.send(topic, "typing", {"by": "another stranger"})

    heard = stranger.wait_for(kind="broadcast")
    assert heard[-1]["payload"] == {"by": "another stranger"}


def test_signed_out_client_and_stranger_are_refused(stack: RealtimeStack, trip: Trip) -> None:
    for person in (stack.app.open_signed_out(), stack.app.sign_up()):
        for topic in (f"trip:{trip.id}", f"user:{trip.bo.id}"):
            refused = Listener(person).join(topic)
            assert refused["reason"] == (
                "Unauthorized: You do not have permissions to read from this Channel topic:"
                f" {topic}"
            )


def test_clients_of_public_channels_are_refused_once_public_access_is_off(
    stack: RealtimeStack, trip: Trip
) -> None:
    ana, bo = Listener(trip.ana), Listener(trip.bo)
    ana.join("lobby", private=False)
    bo.join(bo.topic)

    refusal = "PrivateOnly: This project only allows private channels"
    with stack.realtime.no_public_access():
        ana.wait_for(kind="status", topic="lobby", status="CHANNEL_ERROR", reason=refusal)
        bo.wait_for(kind="status", topic=bo.topic, status="SUBSCRIBED")

    assert f"`{refusal}`" in (GUIDES / "realtime.md").read_text()


def test_guides_lines_hear_a_signal_of_another_member(stack: RealtimeStack, trip: Trip) -> None:
    ana, bo = Listener(trip.ana), Listener(trip.bo)
    bo.listen()
    await_that(lambda: stack.realtime.policies.list_questions(bo.topic) == ["read"], 20)

    ana.signal(trip.id)

    bo.wait_for(kind="heard", event="signal.typing", payload={"user_id": str(trip.ana.id)})


def test_guide_has_the_texts_of_the_refusals(stack: RealtimeStack, trip: Trip) -> None:
    guide = (GUIDES / "realtime.md").read_text()
    stranger = stack.app.sign_up()
    own = {"trip_id": trip.id, "user_id": trip.bo.id}

    for answer in (
        trip.write(stranger, "let me in"),
        trip.bo.insert("chat_messages", **own, body="old", created_at="2020-01-01"),
        stranger.call("send_trip_signal", trip_id=trip.id, event="typing"),
    ):
        assert (answer.status, answer.code) == (403, "42501")
        assert answer.message is not None
        assert f"`{answer.message}`" in guide
    reason = Listener(stranger).join(Listener(trip.bo).topic)["reason"]
    assert f"`{reason.partition('user:')[0]}user:…`" in guide


def test_guides_questions_tell_a_member_from_a_stranger(stack: RealtimeStack, trip: Trip) -> None:
    stranger = Listener(stack.app.sign_up())

    member_lines = Listener(trip.bo).diagnose(trip.id)
    stranger_lines = stranger.diagnose(trip.id)

    assert member_lines[0][:2] == ["user", str(trip.bo.id)]
    assert [each[1:] for each in member_lines[1:]] == [[True, None], [200, 1, None]]
    assert [each[1:] for each in stranger_lines[1:]] == [[False, None], [200, 0, None]]
