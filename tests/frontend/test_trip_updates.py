"""The example of docs/snippets/typescript, used by members, removed members and strangers."""

from collections.abc import Iterator

import pytest

from tests.frontend.listener import Listener
from tests.frontend.scene import FIRST, Scene, open_scene
from tests.frontend.stack import RealtimeStack
from tests.frontend.trip import ONE_A_MEMBER


@pytest.fixture
def scene(stack: RealtimeStack) -> Iterator[Scene]:
    with open_scene(stack) as scene:
        yield scene


def test_member_sees_messages_come_change_and_go(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo

    message_id = trip.write(trip.ana, "Or ten?").data[0]["id"]
    bo.wait_for(kind="messages", tripId=trip.id, bodies=[FIRST, "Or ten?"])
    trip.ana.update("chat_messages", {"body": "Or half past?"}, id=message_id)
    bo.wait_for(kind="messages", tripId=trip.id, bodies=[FIRST, "Or half past?"])
    trip.ana.delete("chat_messages", id=message_id)
    entries = bo.wait_for(kind="messages", tripId=trip.id)

    assert entries[-1]["bodies"] == [FIRST]


def test_member_is_told_of_reactions_receipts_presence_members_and_signals(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    own = {"trip_id": trip.id, "user_id": trip.ana.id}

    trip.ana.delete("chat_reactions", **own)
    assert bo.wait_for(kind="update")[-1]["event"] == "reaction.deleted"
    trip.ana.insert("chat_reactions", **own, message_id=trip.message_id, emoji="🚋")
    assert bo.wait_for(kind="update", event="reaction.created")[-1]["row"]["emoji"] == "🚋"
    newer = trip.write(trip.ana, "Or ten?").data[0]["id"]
    trip.ana.upsert("chat_read_receipts", ONE_A_MEMBER, **own, message_id=newer)
    bo.wait_for(kind="update", event="receipt.updated", row={"message_id": newer})
    trip.ana.upsert("user_presence", ONE_A_MEMBER, **own, status="away", is_typing=False)
    bo.wait_for(kind="update", event="presence.updated", row={"status": "away"})
    # Its payload is not compared: the local Supabase sends jsonb arguments as text.
    typing = trip.ana.call("send_trip_signal", trip_id=trip.id, event="typing")
    assert typing.code is None
    bo.wait_for(kind="update", event="signal.typing", user_id=str(trip.ana.id))
    assert typing.code is None
    carla = scene.stack.app.sign_up()
    trip.tell("user.created", id=carla.id, email=carla.email, username="carla")
    trip.add_member(carla)
    bo.wait_for(kind="update", event="member.added", user_id=str(carla.id))


def test_app_that_finds_its_session_in_storage_joins_with_the_users_token(scene: Scene) -> None:
    scene.bo.stop_updates()
    scene.bo.wait_for(kind="status", status="CLOSED")
    scene.bo.reopen()

    assert scene.bo.start_updates()["status"] == "SUBSCRIBED"


def test_change_that_arrives_during_a_read_is_kept(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    bo.hold_reads()
    bo.refetch()
    bo.wait_for(kind="held")

    trip.write(trip.ana, "Or ten?")
    scene.await_bodies(FIRST, "Or ten?")
    bo.release_reads()

    entries = bo.wait_for(kind="refetch", tripId=trip.id)
    assert entries[-2]["bodies"] == [FIRST, "Or ten?"]


def test_removed_member_is_deaf_from_the_next_message_on_without_joining_again(
    scene: Scene,
) -> None:
    trip, policies = scene.trip, scene.stack.realtime.policies
    listener = scene.listen_without_example()
    trip.write(trip.ana, "Bo reads this")
    assert scene.hear_until_now(listener) == ["message.created"]
    questions = policies.list_questions(listener.topic)

    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)
    trip.write(trip.ana, "Bo does not")
    trip.ana.delete("chat_reactions", trip_id=trip.id)
    trip.ana.delete("chat_read_receipts", trip_id=trip.id)
    trip.join_in(trip.ana)

    assert scene.hear_until_now(listener) == ["access.revoked"]
    assert policies.list_questions(listener.topic) == questions == ["read", "read"]
    scene.bo.wait_for(kind="revoked", tripId=trip.id)


def test_removed_member_is_mute(scene: Scene) -> None:
    trip = scene.trip
    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)

    signal = trip.bo.call("send_trip_signal", trip_id=trip.id, event="typing", payload={})
    written = trip.write(trip.bo, "still here")

    assert (signal.status, signal.code) == (403, "42501")
    assert (written.status, written.code) == (403, "42501")


def test_no_member_can_send_to_a_personal_topic(scene: Scene) -> None:
    trip, bo, listener = scene.trip, scene.bo, scene.listen_without_example()
    assert listener.send(listener.topic, "access.revoked", {"trip_id": str(trip.id)}) == "timed out"
    ana = Listener(trip.ana)
    assert ana.join(ana.topic)["status"] == "SUBSCRIBED"

    assert ana.send(ana.topic, "access.revoked", {"trip_id": str(trip.id)}) == "timed out"

    refused = ana.join(bo.topic)
    assert (refused["status"], refused["reason"]) == (
        "CHANNEL_ERROR",
        f"Unauthorized: You do not have permissions to read from this Channel topic: {bo.topic}",
    )
    assert scene.hear_until_now(listener) == []


def test_member_removed_while_disconnected_loses_the_trip_after_joining_again(
    scene: Scene,
) -> None:
    trip, bo = scene.trip, scene.bo
    with scene.stack.realtime.outage():
        bo.wait_for(kind="status", status="CHANNEL_ERROR")
        trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)

    bo.wait_for(kind="revoked", tripId=trip.id)


def test_messages_missed_while_disconnected_are_read_from_the_table(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    edited = trip.write(trip.ana, "Or ten?").data[0]["id"]
    deleted = trip.write(trip.ana, "No, nine").data[0]["id"]
    bo.wait_for(kind="messages", tripId=trip.id, bodies=[FIRST, "Or ten?", "No, nine"])

    with scene.stack.realtime.outage():
        bo.wait_for(kind="status", status="CHANNEL_ERROR")
        trip.ana.update("chat_messages", {"body": "Or half past?"}, id=edited)
        trip.ana.delete("chat_messages", id=deleted)
        # Several pages of them, of one moment.
        scene.write_many(trip.id, "message ", 250)

    bo.wait_for(kind="status", status="SUBSCRIBED")
    entries = bo.wait_for(kind="refetch", tripId=trip.id)
    bodies = [each["bodies"] for each in entries if each.get("bodies")][-1]
    assert bodies[:2] == [FIRST, "Or half past?"]
    assert sorted(bodies[2:]) == sorted(f"message {n}" for n in range(1, 251))


def test_channel_that_realtime_closed_is_built_again(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    scene.stack.realtime.stop_channels(bo.topic, "Too many messages per second")
    trip.write(trip.ana, "Or ten?")

    entries = bo.wait_for(kind="status", status="SUBSCRIBED")
    scene.await_bodies(FIRST, "Or ten?")

    statuses = [(each["status"], each.get("reason")) for each in entries if "status" in each]
    assert statuses[:2] == [("system error", "Too many messages per second"), ("CLOSED", None)]
    trip.write(trip.ana, "Yes")
    scene.await_bodies(FIRST, "Or ten?", "Yes")


def test_renewed_token_is_checked_once_and_keeps_the_topic(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo

    bo.renew_token()
    trip.write(trip.ana, "Or ten?")
    scene.await_bodies(FIRST, "Or ten?")

    assert scene.stack.realtime.policies.list_questions(bo.topic) == ["read", "read"]


def test_expired_token_closes_the_topic_and_a_valid_one_opens_it_again(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    scene.stack.realtime.advance_clock(7200)
    entries = bo.wait_for(kind="status", status="CHANNEL_ERROR")
    scene.stack.realtime.advance_clock(-7200)
    trip.write(trip.ana, "Or ten?")

    entries += bo.wait_for(kind="status", status="SUBSCRIBED")
    scene.await_bodies(FIRST, "Or ten?")

    reasons = [str(each["reason"]) for each in entries if each.get("reason")]
    assert reasons[0].startswith("Token has expired ")
    assert reasons[1].startswith("InvalidJWTToken: Token has expired ")


def test_statement_with_many_messages_makes_the_client_read_the_table(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    scene.write_many(trip.id, "message ", 501)

    bodies = bo.wait_for(kind="messages", tripId=trip.id)[-1]["bodies"]

    assert len(bodies) == 502


def test_message_too_large_to_send_is_read_from_the_table(scene: Scene) -> None:
    body = "\x01" * 8000  # six bytes each as JSON
    assert scene.trip.write(scene.trip.ana, body).status == 201

    scene.await_bodies(FIRST, body)


def test_screen_shows_the_messages_and_reads_again_in_the_foreground(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    bo.open_screen(trip.id)
    bo.wait_for(kind="screen", bodies=[FIRST], isRevoked=False)
    trip.write(trip.ana, "Or ten?")
    bo.wait_for(kind="screen", bodies=[FIRST, "Or ten?"])
    bo.come_to_foreground()
    bo.wait_for(kind="refetch", screen=str(trip.id))

    trip.ana.delete("chat_reactions", trip_id=trip.id)
    bo.wait_for(kind="update", screen=str(trip.id), event="reaction.deleted")

    bo.close_screen()
    trip.join_in(trip.ana)
    trip.write(trip.ana, "Yes")
    entries = bo.wait_for(kind="messages", bodies=[FIRST, "Or ten?", "Yes"])
    assert [each for each in entries if "screen" in each] == []


def test_screen_ends_with_access(scene: Scene) -> None:
    trip, bo = scene.trip, scene.bo
    bo.open_screen(trip.id)
    bo.wait_for(kind="screen", bodies=[FIRST], isRevoked=False)

    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)

    bo.wait_for(kind="screen", bodies=[], isRevoked=True)
    bo.close_screen()
