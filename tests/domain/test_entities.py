"""Shows in which order versions stand, and how entities are named."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import (
    EntityKey,
    EntityRef,
    EntityState,
    EventStatus,
    Kind,
    PendingEntity,
    Priority,
    RowText,
    Version,
    find_parent,
    membership_key,
    split_membership_key,
)
from app.domain.instants import Instant

ASCENDING = [
    Version(Instant(-5), True, 90),
    Version(Instant(0), False, 91),
    Version(Instant(1), False, 7),
    Version(Instant(1), False, 8),  # the same instant: the later received wins
    Version(Instant(1), True, 1),  # the same instant: what takes access away wins
    Version(Instant(1), True, 2),
    Version(Instant(2), False, 0),  # a later instant wins over everything
]


@pytest.mark.parametrize(("earlier", "later"), list(combinations(ASCENDING, 2)))
def test_version_later_in_this_list_wins(earlier: Version, later: Version) -> None:
    assert earlier < later
    assert max(later, earlier) == later


@given(
    st.permutations(
        [
            Version(Instant(at), is_removal, sequence)
            for at in range(2)
            for is_removal in (False, True)
            for sequence in range(2)
        ]
    )
)
def test_version_that_wins_is_the_same_in_any_order(versions: list[Version]) -> None:
    assert max(versions) == Version(Instant(1), True, 1)


@given(st.uuids(), st.uuids())
def test_membership_key_gives_its_two_ids_back(trip_id: object, user_id: object) -> None:
    key = membership_key(str(trip_id), str(user_id))
    assert key == f"{trip_id}/{user_id}"
    assert split_membership_key(key) == (str(trip_id), str(user_id))


def test_entity_refs_of_two_kinds_with_one_key_are_two() -> None:
    key = EntityKey("123e4567-e89b-12d3-a456-426614174000")
    assert EntityRef(Kind.USER, key) != EntityRef(Kind.TRIP, key)
    assert EntityRef(Kind.USER, key) == EntityRef(Kind.USER, key)


@pytest.mark.parametrize("state", EntityState)
def test_entity_state_is_an_event_status_of_the_same_word(state: EntityState) -> None:
    assert EventStatus(state.value).value == state.value


def test_priority_puts_what_takes_access_away_first_and_replays_last() -> None:
    assert sorted(Priority.ALL) == [Priority.ACCESS_TAKEN, Priority.CHANGE, Priority.REPLAY]


@pytest.mark.parametrize(
    ("row", "field", "parent"),
    [
        ({"trip_id": "t", "user_id": "u"}, "trip_id", EntityRef(Kind.TRIP, EntityKey("t"))),
        ({"trip_id": "t", "user_id": "u"}, "user_id", EntityRef(Kind.USER, EntityKey("u"))),
        ({"id": "t", "created_by": "u"}, "created_by", EntityRef(Kind.USER, EntityKey("u"))),
        ({"id": "t", "created_by": "u"}, "id", None),
        ({"id": "t", "created_by": "u"}, "trip_id", None),
        ({"id": "t", "created_by": "u"}, None, None),
        ({"id": "u", "trip_id": 7}, "trip_id", None),  # let through beside the contract
        (None, "trip_id", None),
    ],
)
def test_parent_is_the_entity_that_a_field_refers_to(
    row: dict[str, object] | None, field: str | None, parent: EntityRef | None
) -> None:
    entity = PendingEntity(
        ref=EntityRef(Kind.TRIP, EntityKey("t")),
        version=Version(Instant(0), False, 1),
        row=None if row is None else RowText(json.dumps(row)),
        revision=1,
        attempts=0,
        waiting_since=None,
        pending_since=Instant(0),
    )
    assert find_parent(entity, field) == parent
