"""Criteria read back equal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.criteria import Criteria, read_criteria, write_criteria
from app.domain.entities import EntityKey, EntityRef, EventStatus, Kind
from app.domain.events import EventId, EventType
from app.domain.instants import Instant

TRIP = EntityRef(Kind.TRIP, EntityKey("456e7890-e89b-12d3-a456-426614174001"))

some_criteria = st.builds(
    Criteria,
    event_ids=st.none() | st.lists(st.text(max_size=9).map(EventId)).map(tuple),
    since=st.none() | st.integers().map(Instant),
    until=st.none() | st.integers().map(Instant),
    types=st.none() | st.lists(st.sampled_from(EventType), unique=True).map(tuple),
    entity=st.none()
    | st.builds(EntityRef, st.sampled_from(Kind), st.text(max_size=9).map(EntityKey)),
    status=st.none() | st.sampled_from(EventStatus),
    error_code=st.none() | st.text(max_size=9),
    error=st.none() | st.text(max_size=9),
)


@given(criteria=some_criteria)
def test_criteria_written_and_read_are_equal(criteria: Criteria) -> None:
    assert read_criteria(write_criteria(criteria)) == criteria


def test_criteria_empty_are_written_as_an_empty_object() -> None:
    assert write_criteria(Criteria()) == "{}"


@pytest.mark.parametrize(
    ("criteria", "needs_event_scan"),
    [
        (Criteria(), False),
        (Criteria(status=EventStatus.DEAD, entity=TRIP), False),
        (Criteria(error_code="23514", error="violates a constraint"), False),
        (Criteria(since=Instant(0)), True),
        (Criteria(until=Instant(0)), True),
        (Criteria(types=()), True),
        (Criteria(event_ids=()), True),
    ],
    ids=str,
)
def test_criteria_with_ids_times_or_types_need_an_event_scan(
    criteria: Criteria, needs_event_scan: bool
) -> None:
    assert criteria.needs_event_scan is needs_event_scan
