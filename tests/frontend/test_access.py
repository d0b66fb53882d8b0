"""What a user of the app sees before, during and after their membership of a trip.

Access is given and taken away by signed webhooks to a running relay, and by nothing else.
"""

from collections.abc import Callable

import pytest

from tests.e2e.conftest import RelayProcess
from tests.frontend.app import App, Person
from tests.frontend.trip import ONE_A_MEMBER, Trip

REFUSED = "42501"

NOTHING: dict[str, list[object]] = {
    name: [] for name in ("messages", "reactions", "receipts", "presence", "members", "trips")
}


@pytest.fixture
def trip(relay: RelayProcess, app: App) -> Trip:
    return Trip(relay, app)


def is_member(trip: Trip, person: Person) -> object:
    answer = person.call("is_trip_member", trip_id=trip.id)
    assert answer.status == 200, answer
    return answer.data


def assert_all_refused(trip: Trip, person: Person) -> None:
    """Hold every way of taking part to a refusal, and every change to finding no row."""
    for answer in (trip.write(person, "still here"), *trip.join_in(person)):
        assert (answer.status, answer.code) == (403, REFUSED), answer
    for table in ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence"):
        deleted = person.delete(table, trip_id=trip.id)
        assert (deleted.status, deleted.data) == (200, []), (table, deleted)
    edited = person.update("chat_messages", {"body": "gone"}, user_id=person.id)
    assert (edited.status, edited.data) == (200, [])


def test_user_who_is_no_member_reads_and_writes_nothing(trip: Trip) -> None:
    assert trip.open_screen(trip.bo) == NOTHING
    assert is_member(trip, trip.bo) is False
    assert_all_refused(trip, trip.bo)
    assert trip.open_screen(trip.ana)["messages"] == trip.what_ana_left()["messages"]


def test_signed_out_app_is_refused_everywhere(trip: Trip, app: App) -> None:
    nobody = app.open_signed_out()
    for table in ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence"):
        assert nobody.select(table).code == REFUSED
    assert nobody.select("users").code == REFUSED
    assert nobody.select("trips").status == 401
    assert nobody.select("trip_memberships").status == 401
    assert nobody.call("is_trip_member", trip_id=trip.id).status == 401
    assert trip.write(nobody, "let me in").status == 401


def test_new_member_reads_and_writes_everything(trip: Trip) -> None:
    trip.add_member(trip.bo)

    seen = trip.open_screen(trip.bo)
    assert seen.pop("members") == [
        # The account of another member is not readable: the join returns no e-mail and no name.
        {"user_id": str(trip.ana.id), "role": "OWNER", "users": None},
        {"user_id": str(trip.bo.id), "role": "MEMBER", "users": {"username": "bo"}},
    ]
    assert seen == trip.what_ana_left()
    assert is_member(trip, trip.bo) is True
    assert trip.bo.call("active_trip_ids").data == [str(trip.id)]

    assert trip.write(trip.bo, "See you there").status == 201
    assert [answer.status for answer in trip.join_in(trip.bo)] == [201] * 3
    (newest, _) = trip.open_screen(trip.ana)["messages"]
    assert newest == {
        "body": "See you there",
        "user_id": str(trip.bo.id),
        "trips": {"name": "Lisbon"},
        "chat_reactions": [],
    }


def test_member_marking_as_read_again_moves_his_one_receipt(trip: Trip) -> None:
    trip.add_member(trip.bo)
    own = {"trip_id": trip.id, "user_id": trip.bo.id}
    trip.join_in(trip.bo)
    newer = trip.write(trip.ana, "Or at ten").data[0]["id"]

    moved = trip.bo.upsert("chat_read_receipts", ONE_A_MEMBER, **own, message_id=newer)
    away = trip.bo.upsert("user_presence", ONE_A_MEMBER, **own, status="away", is_typing=False)

    assert (moved.code, away.code) == (None, None)
    receipts = trip.bo.select("chat_read_receipts", "message_id", user_id=trip.bo.id)
    presence = trip.bo.select("user_presence", "status", user_id=trip.bo.id)
    assert (receipts.data, presence.data) == ([{"message_id": newer}], [{"status": "away"}])


def test_member_writing_as_somebody_else_is_refused(trip: Trip) -> None:
    trip.add_member(trip.bo)

    forged = trip.bo.insert("chat_messages", trip_id=trip.id, user_id=trip.ana.id, body="I resign")
    stolen = trip.bo.update("chat_messages", {"body": "I resign"}, id=trip.message_id)
    promoted = trip.bo.update("trip_memberships", {"role": "OWNER"}, user_id=trip.bo.id)

    assert (forged.code, stolen.data, promoted.code) == (REFUSED, [], REFUSED)
    assert trip.open_screen(trip.ana)["messages"] == trip.what_ana_left()["messages"]


def remove(trip: Trip) -> None:
    trip.tell("membership.deleted", trip_id=trip.id, user_id=trip.bo.id)


def make_inactive(trip: Trip) -> None:
    trip.tell(
        "membership.updated",
        trip_id=trip.id,
        user_id=trip.bo.id,
        role="MEMBER",
        status="INACTIVE",
    )


def delete_user(trip: Trip) -> None:
    trip.tell("user.deleted", id=trip.bo.id)


def delete_trip(trip: Trip) -> None:
    trip.tell("trip.deleted", id=trip.id)


@pytest.mark.parametrize("take_away", [remove, make_inactive, delete_user, delete_trip])
def test_former_member_reads_nothing_in_the_old_session_or_a_new_one(
    trip: Trip, take_away: Callable[[Trip], None]
) -> None:
    trip.add_member(trip.bo)
    assert trip.write(trip.bo, "See you there").status == 201
    assert [answer.status for answer in trip.join_in(trip.bo)] == [201] * 3
    assert len(trip.open_screen(trip.bo)["messages"]) == 2

    take_away(trip)

    # An INACTIVE member may read their own membership, and no other.
    own = {"user_id": str(trip.bo.id), "role": "MEMBER", "users": {"username": "bo"}}
    left = NOTHING | {"members": [own] if take_away is make_inactive else []}
    for _ in range(2):
        assert trip.open_screen(trip.bo) == left
        assert is_member(trip, trip.bo) is False
        assert_all_refused(trip, trip.bo)
        trip.bo.sign_in_again()


@pytest.mark.parametrize("take_away", [remove, make_inactive, delete_user])
def test_remaining_member_still_reads_the_messages_of_the_former_member(
    trip: Trip, take_away: Callable[[Trip], None]
) -> None:
    trip.add_member(trip.bo)
    trip.write(trip.bo, "See you there")

    take_away(trip)

    seen = trip.open_screen(trip.ana)["messages"]
    assert [row["body"] for row in seen if isinstance(row, dict)] == [
        "See you there",
        "Tram 28 at nine?",
    ]


def test_member_added_again_reads_again(trip: Trip) -> None:
    trip.add_member(trip.bo)
    remove(trip)
    assert trip.open_screen(trip.bo) == NOTHING

    trip.add_member(trip.bo)

    assert trip.open_screen(trip.bo)["messages"] == trip.what_ana_left()["messages"]
    assert trip.open_screen(trip.bo)["presence"] == trip.what_ana_left()["presence"]
