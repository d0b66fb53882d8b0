"""Criteria: which events match, and that stored criteria read back equal."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.criteria import Criteria, read_criteria, write_criteria
from app.domain.entities import EntityKey, EntityRef, EntityState, EventStatus, Kind
from app.domain.events import EventId, EventType
from app.domain.history import EntityView, StoredEvent
from app.domain.instants import Instant

TRIP = EntityRef(Kind.TRIP, EntityKey("456e7890-e89b-12d3-a456-426614174001"))
ENTITY = EntityView(
    ref=TRIP,
    state=EntityState.DEAD,
    is_removed=False,
    desired_at=Instant(1),
    desired_sequence=7,
    applied_version_at=None,
    applied_sequence=None,
    applied_at=None,
    pending_since=None,
    attempts=1,
    next_attempt_at=None,
    last_error_code="23514",
    last_error="violates check constraint",
)
EVENT = StoredEvent(
    EventId("evt_1"), EventType.TRIP_UPDATED, 7, Instant(1), received_at=Instant(100), entity=ENTITY
)

some_criteria = st.builds(
    Criteria,
    event_ids=st.none() | st.lists(st.text(max_size=9).map(EventId)).map(tuple),
    since=st.none() | st.integers().map(Instant),
    until=st.none() | st.integers().map(Instant),
    types=st.none() | st.lists(st.sampled_from(EventType), unique=True).map(tuple),
    entity=st.none()
    | st.builds(EntityRef, st.sampled_from(Kind), st.text(max_size=9).map(EntityKey)),
    status=st.none() | st.sampled_from(EventStatus),
)


@given(criteria=some_criteria)
def test_criteria_written_and_read_are_equal(criteria: Criteria) -> None:
    assert read_criteria(write_criteria(criteria)) == criteria


def test_criteria_empty_are_written_as_an_empty_object() -> None:
    assert write_criteria(Criteria()) == "{}"


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(),
        Criteria(since=Instant(100)),
        Criteria(until=Instant(101)),
        Criteria(types=(EventType.TRIP_CREATED, EventType.TRIP_UPDATED)),
        Criteria(entity=TRIP),
        Criteria(status=EventStatus.DEAD),
    ],
    ids=write_criteria,
)
def test_criteria_that_an_event_meets_match(criteria: Criteria) -> None:
    assert criteria.matches(EVENT)


@pytest.mark.parametrize(
    "missed",
    [
        {"since": Instant(101)},
        {"until": Instant(100)},
        {"types": (EventType.TRIP_CREATED,)},
        {"types": ()},
        {"entity": EntityRef(Kind.USER, TRIP.key)},
        {"entity": EntityRef(Kind.TRIP, EntityKey("other"))},
        {"status": EventStatus.PENDING},
        {"status": EventStatus.SUPERSEDED},
    ],
    ids=str,
)
def test_criteria_with_one_not_met_do_not_match(missed: dict[str, Any]) -> None:
    met = Criteria(
        since=Instant(100),
        until=Instant(101),
        types=(EventType.TRIP_UPDATED,),
        entity=TRIP,
        status=EventStatus.DEAD,
    )
    assert met.matches(EVENT)
    assert not replace(met, **missed).matches(EVENT)


def test_criteria_with_a_status_match_the_event_not_the_entity() -> None:
    passed = replace(EVENT, sequence=6)
    assert Criteria(status=EventStatus.SUPERSEDED).matches(passed)
    assert not Criteria(status=EventStatus.DEAD).matches(passed)


@pytest.mark.parametrize(
    ("criteria", "needs_event_scan"),
    [
        (Criteria(), False),
        (Criteria(status=EventStatus.DEAD, entity=TRIP), False),
        (Criteria(since=Instant(0)), True),
        (Criteria(until=Instant(0)), True),
        (Criteria(types=()), True),
    ],
    ids=str,
)
def test_criteria_with_times_or_types_need_an_event_scan(
    criteria: Criteria, needs_event_scan: bool
) -> None:
    assert criteria.needs_event_scan is needs_event_scan
