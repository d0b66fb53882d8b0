"""A receipt moves forward only, within its trip, in both instances of the policy pack."""

from uuid import UUID, uuid4

import pytest

from tests.contract.database import Refused
from tests.contract.instances import INSTANCES, OURS, Trip

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=lambda it: it.name)
only_ours = pytest.mark.parametrize("instance", [OURS], ids=["ours"])
NOT_OF_THE_TRIP = "23503"


def add_message(trip: Trip, *, trip_id: UUID | None = None, hours: int = 1) -> UUID:
    """Add a message that is so many hours newer than those of the trip."""
    message_id = uuid4()
    row = trip.instance.message(trip_id or trip.id, trip.fellow_id, message_id)
    trip.insert("message", row)
    trip.database.run(
        f"update {trip.instance.tables['message']}"  # noqa: S608 - ours
        " set created_at = now() + $1::int * interval '1 hour' where id = $2",
        hours,
        message_id,
    )
    return message_id


def move(trip: Trip, message_id: UUID | None) -> None:
    """Move the caller's receipt, as the present role."""
    trip.database.run(
        f"update {trip.instance.tables['receipt']} set {trip.instance.read} = $1"  # noqa: S608
        " where user_id = $2",
        message_id,
        trip.caller_id,
    )


def read(trip: Trip) -> str | None:
    """Return the message that the caller's receipt names."""
    (row,) = trip.database.run(
        f"select {trip.instance.read}::text as id from {trip.instance.tables['receipt']}"  # noqa: S608
        " where user_id = $1",
        trip.caller_id,
    )
    message_id: str | None = row["id"]
    return message_id


@every_instance
def test_receipt_moves_to_a_newer_message_and_not_back_to_an_older_one(trip: Trip) -> None:
    older, newer = add_message(trip, hours=1), add_message(trip, hours=2)

    for message_id in (older, newer, older):
        move(trip, message_id)

    assert read(trip) == str(newer)


@only_ours
def test_receipt_that_stays_keeps_the_time_of_reading(trip: Trip) -> None:
    older, newer = add_message(trip, hours=1), add_message(trip, hours=2)
    move(trip, newer)
    trip.database.run("update chat_read_receipts set read_at = '2026-01-01'")

    move(trip, older)

    times = trip.database.run("select 1 from chat_read_receipts where read_at > '2026-01-02'")
    assert times == []


@every_instance
def test_receipt_naming_a_message_of_another_trip_is_rejected(trip: Trip) -> None:
    foreign = add_message(trip, trip_id=trip.other_id)

    for message_id in (foreign, uuid4()):
        with trip.database.undone(), pytest.raises(Refused, match=NOT_OF_THE_TRIP):
            move(trip, message_id)
    table, column = trip.instance.tables["receipt"], trip.instance.read
    trip.database.run(f"delete from {table}")  # noqa: S608
    with trip.database.undone(), pytest.raises(Refused, match=NOT_OF_THE_TRIP):
        trip.insert("receipt", {**trip.make_row("receipt", trip.caller_id), column: foreign})


@only_ours
def test_client_cannot_empty_a_receipt_and_the_backend_can(trip: Trip) -> None:
    first = str(trip.message_ids[trip.fellow_id])
    with trip.database.as_caller("authenticated", trip.caller_id):
        move(trip, None)
        assert read(trip) == first
    with trip.database.as_caller("service_role"):
        move(trip, None)
        assert read(trip) is None


@only_ours
def test_deleted_message_empties_the_receipts_that_name_it_whoever_deletes_it(trip: Trip) -> None:
    first = trip.message_ids[trip.fellow_id]
    with trip.database.as_caller("authenticated", trip.fellow_id):
        trip.database.run("delete from chat_messages where id = $1", first)
        trip.database.run("reset role")
        assert read(trip) is None
