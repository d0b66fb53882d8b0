"""Targets: their columns and keys, minimal and mapped."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.events import EventId, EventType, make_event
from app.domain.instants import Instant
from app.supabase.targets import MINIMAL_TARGETS, Inactive, Target, Targets
from tests.supabase.fitted_targets import FITTED

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
def test_target_has_the_fields_of_its_rows_in_their_order(
    event_type: EventType, data: dict[str, str]
) -> None:
    event = make_event(EventId("evt_1"), event_type, Instant(0), data, b"")
    assert event.row is not None
    assert tuple(MINIMAL_TARGETS[event.kind].columns) == tuple(json.loads(event.row))


@pytest.mark.parametrize("targets", [MINIMAL_TARGETS, FITTED], ids=["minimal", "fitted"])
@pytest.mark.parametrize("kind", Kind)
def test_target_conflicts_on_columns_that_it_writes(targets: Targets, kind: Kind) -> None:
    target = targets[kind]
    assert target.kind is kind
    assert target.key_columns
    assert set(target.key_columns) <= set(target.written_columns)


def test_targets_default_to_the_three_minimal_tables() -> None:
    found = [
        (target.schema, target.table, target.written_columns, target.key_columns)
        for target in (MINIMAL_TARGETS[kind] for kind in Kind)
    ]
    assert found == [
        (None, "users", ("id", "email", "username"), ("id",)),
        (None, "trips", ("id", "name", "created_by"), ("id",)),
        (
            None,
            "trip_memberships",
            ("trip_id", "user_id", "role", "status"),
            ("trip_id", "user_id"),
        ),
    ]
    assert all(target.inactive is Inactive.KEEP for target in (MINIMAL_TARGETS[k] for k in Kind))


def test_columns_have_the_order_of_a_row_with_extra_fields_last() -> None:
    assert FITTED.users.written_columns == (
        "id",
        "email",
        "username",
        "supabase_id",
        "deleted_at",
        "source",
    )
    assert FITTED.trips.written_columns == (
        "tripId",
        "title",
        "created_by",
        "start_date",
        "end_date",
    )
    assert FITTED.memberships.key_columns == ("trip_id", "member_id")


def test_column_maps_back_to_its_field() -> None:
    assert FITTED.users.fields == {
        "id": "id",
        "email": "email",
        "username": "username",
        "supabase_id": "id",
    }
    assert FITTED.memberships.fields == {
        "trip_id": "trip_id",
        "member_id": "user_id",
        "role": "role",
        "status": "status",
        "note": "note",
    }
    assert FITTED.trips.fields["start_date"] == "startDate"


@pytest.mark.parametrize(
    ("schema", "table", "name"),
    [
        (None, "users", "public.users"),
        ("app", "profiles", "app.profiles"),
        ("app", "Trip Members", "app.Trip Members"),
    ],
)
def test_qualified_name_always_has_a_schema(schema: str | None, table: str, name: str) -> None:
    assert Target(Kind.USER, table, {"id": "id"}, schema=schema).qualified_name == name


def test_extra_fields_are_listed_for_kinds_that_have_any() -> None:
    assert MINIMAL_TARGETS.extra == {}
    assert FITTED.extra == {Kind.TRIP: ("startDate", "endDate"), Kind.MEMBERSHIP: ("note",)}
