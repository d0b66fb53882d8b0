"""The status of an event, derived from its entity."""

import pytest

from app.domain.entities import EntityKey, EntityRef, EntityState, EventStatus, Kind
from app.domain.events import EventId, EventType
from app.domain.history import EntityView, StoredEvent
from app.domain.instants import Instant


def make_event(*, sequence: int, desired_sequence: int, state: EntityState) -> StoredEvent:
    entity = EntityView(
        ref=EntityRef(Kind.USER, EntityKey("123e4567-e89b-12d3-a456-426614174000")),
        state=state,
        is_removed=False,
        is_removal=False,
        desired_at=Instant(1),
        desired_sequence=desired_sequence,
        applied_version_at=None,
        applied_sequence=None,
        applied_at=None,
        pending_since=None,
        attempts=0,
        next_attempt_at=None,
        is_retry=False,
        last_error_code=None,
        last_error=None,
    )
    return StoredEvent(
        EventId("evt_1"), EventType.USER_CREATED, sequence, Instant(1), Instant(2), entity
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (EntityState.PENDING, EventStatus.PENDING),
        (EntityState.APPLIED, EventStatus.APPLIED),
        (EntityState.DEAD, EventStatus.DEAD),
    ],
)
def test_event_at_the_desired_version_has_its_entitys_status(
    state: EntityState, status: EventStatus
) -> None:
    assert make_event(sequence=7, desired_sequence=7, state=state).status is status


@pytest.mark.parametrize("state", EntityState)
@pytest.mark.parametrize("desired_sequence", [6, 8])
def test_event_at_another_version_is_superseded(state: EntityState, desired_sequence: int) -> None:
    # 6: an event received later that happened earlier.
    event = make_event(sequence=7, desired_sequence=desired_sequence, state=state)
    assert event.status is EventStatus.SUPERSEDED
