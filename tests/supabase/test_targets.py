"""Holds the tables to the rows that events make: an upsert names every column it sends."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.events import EventId, EventType, make_event
from app.domain.instants import Instant
from app.supabase.targets import TARGETS, Target

ID = "123e4567-e89b-12d3-a456-426614174000"
ROWS = {
    EventType.USER_CREATED: {"id": ID, "email": "ada@example.com", "username": "ada"},
    EventType.TRIP_CREATED: {"id": ID, "name": "Lisbon", "created_by": ID},
    EventType.MEMBERSHIP_CREATED: {
        "trip_id": ID,
        "user_id": ID,
        "role": "MEMBER",
        "status": "ACTIVE",
    },
}


@pytest.mark.parametrize(("event_type", "data"), list(ROWS.items()))
def test_target_has_the_columns_of_its_rows_in_their_order(
    event_type: EventType, data: dict[str, str]
) -> None:
    event = make_event(EventId("evt_1"), event_type, Instant(0), data, b"")
    assert event.row is not None
    assert TARGETS[event.kind].columns == tuple(json.loads(event.row))


@pytest.mark.parametrize("kind", Kind)
def test_target_conflicts_on_columns_that_it_writes(kind: Kind) -> None:
    target = TARGETS[kind]
    assert target.key_columns
    assert set(target.key_columns) <= set(target.columns)


def test_targets_are_the_three_minimal_tables() -> None:
    assert {
        Kind.USER: Target("users", ("id", "email", "username"), ("id",)),
        Kind.TRIP: Target("trips", ("id", "name", "created_by"), ("id",)),
        Kind.MEMBERSHIP: Target(
            "trip_memberships", ("trip_id", "user_id", "role", "status"), ("trip_id", "user_id")
        ),
    } == TARGETS
