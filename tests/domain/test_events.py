"""What each type of event means for its entity."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.events import EventId, EventType, make_event
from app.domain.instants import Instant

USER_ID = "123e4567-e89b-12d3-a456-426614174000"
TRIP_ID = "456e7890-e89b-12d3-a456-426614174001"
USER = {"id": USER_ID, "email": "ada@example.com", "username": "ada"}
TRIP = {"id": TRIP_ID, "name": "Lisbon", "created_by": USER_ID}
MEMBERSHIP = {"trip_id": TRIP_ID, "user_id": USER_ID, "role": "MEMBER", "status": "ACTIVE"}
MEMBERSHIP_IDS = {"trip_id": TRIP_ID, "user_id": USER_ID}
MEMBERSHIP_KEY = f"{TRIP_ID}/{USER_ID}"

# type, data → kind, key, trip_id, user_id, is a revocation
MEANINGS = [
    (EventType.USER_CREATED, USER, Kind.USER, USER_ID, None, None, False),
    (EventType.USER_UPDATED, USER, Kind.USER, USER_ID, None, None, False),
    (EventType.USER_DELETED, {"id": USER_ID}, Kind.USER, USER_ID, None, None, True),
    (EventType.TRIP_CREATED, TRIP, Kind.TRIP, TRIP_ID, None, USER_ID, False),
    (EventType.TRIP_UPDATED, TRIP, Kind.TRIP, TRIP_ID, None, USER_ID, False),
    (EventType.TRIP_DELETED, {"id": TRIP_ID}, Kind.TRIP, TRIP_ID, None, None, True),
    *(
        (event_type, MEMBERSHIP, Kind.MEMBERSHIP, MEMBERSHIP_KEY, TRIP_ID, USER_ID, False)
        for event_type in (EventType.MEMBERSHIP_CREATED, EventType.MEMBERSHIP_UPDATED)
    ),
    (
        EventType.MEMBERSHIP_DELETED,
        MEMBERSHIP_IDS,
        Kind.MEMBERSHIP,
        MEMBERSHIP_KEY,
        TRIP_ID,
        USER_ID,
        True,
    ),
]


@pytest.mark.parametrize(
    ("event_type", "data", "kind", "key", "trip_id", "user_id", "is_removal"), MEANINGS
)
def test_event_of_each_type_sets_its_entitys_fields(
    event_type: EventType,
    data: dict[str, str],
    kind: Kind,
    key: str,
    trip_id: str | None,
    user_id: str | None,
    is_removal: bool,
) -> None:
    event = make_event(EventId("evt_1"), event_type, Instant(7), data, b"digest")
    assert (event.event_id, event.type, event.occurred_at, event.digest) == (
        "evt_1",
        event_type,
        7,
        b"digest",
    )
    assert (event.kind, event.key) == (kind, key)
    assert (event.trip_id, event.user_id) == (trip_id, user_id)
    assert event.is_removal is is_removal
    assert json.loads(event.data) == data
    assert event.row == (None if event_type.endswith(".deleted") else event.data)


def test_meanings_cover_every_event_type() -> None:
    assert [meaning[0] for meaning in MEANINGS] == list(EventType)


@pytest.mark.parametrize("event_type", [EventType.MEMBERSHIP_CREATED, EventType.MEMBERSHIP_UPDATED])
@pytest.mark.parametrize("status", ["INACTIVE", "INVITED", "active", ""])
def test_membership_not_active_is_a_removal_with_a_row(event_type: EventType, status: str) -> None:
    data = MEMBERSHIP | {"status": status}
    event = make_event(EventId("evt_1"), event_type, Instant(7), data, b"")
    assert event.is_removal
    assert event.row is not None
    assert json.loads(event.row)["status"] == status
