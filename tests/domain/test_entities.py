"""The order of versions, the queues, and the keys of entities."""

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
    Version(Instant(1), True, 1),  # at the same instant the revocation wins
    Version(Instant(1), True, 2),
    Version(Instant(2), False, 0),  # a later instant wins over everything
]


@pytest.mark.parametrize(("earlier", "later"), list(combinations(ASCENDING, 2)))
def test_version_later_in_the_list_wins(earlier: Version, later: Version) -> None:
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
def test_versions_in_any_order_have_the_same_winner(versions: list[Version]) -> None:
    assert max(versions) == Version(Instant(1), True, 1)


@given(st.uuids(), st.uuids())
def test_membership_key_splits_into_its_ids(trip_id: object, user_id: object) -> None:
    key = membership_key(str(trip_id), str(user_id))
    assert key == f"{trip_id}/{user_id}"
    assert split_membership_key(key) == (str(trip_id), str(user_id))


def test_entity_refs_with_one_key_and_two_kinds_differ() -> None:
    key = EntityKey("123e4567-e89b-12d3-a456-426614174000")
    assert EntityRef(Kind.USER, key) != EntityRef(Kind.TRIP, key)
    assert EntityRef(Kind.USER, key) == EntityRef(Kind.USER, key)


@pytest.mark.parametrize("state", EntityState)
def test_entity_states_are_event_statuses(state: EntityState) -> None:
    assert EventStatus(state.value).value == state.value


def make_entity(kind: Kind, *, is_removal: bool, row: str | None = "{}") -> PendingEntity:
    return PendingEntity(
        ref=EntityRef(kind, EntityKey("k")),
        version=Version(Instant(0), is_removal, 1),
        row=None if row is None else RowText(row),
        revision=1,
        attempts=0,
        waiting_since=None,
        pending_since=Instant(0),
    )


@pytest.mark.parametrize(
    ("kind", "is_removal", "row", "priority"),
    [
        (Kind.MEMBERSHIP, True, None, Priority.REVOCATION),
        # Not ACTIVE: the row stays, without access.
        (Kind.MEMBERSHIP, True, "{}", Priority.REVOCATION),
        (Kind.MEMBERSHIP, False, "{}", Priority.WRITE),
        (Kind.TRIP, False, "{}", Priority.WRITE),
        (Kind.USER, False, "{}", Priority.WRITE),
        (Kind.TRIP, True, None, Priority.DELETE),
        (Kind.USER, True, None, Priority.DELETE),
    ],
)
def test_fresh_change_waits_in_the_queue_of_its_request_kind(
    kind: Kind, is_removal: bool, row: str | None, priority: Priority
) -> None:
    assert make_entity(kind, is_removal=is_removal, row=row).priority is priority


def test_queues_are_ordered_revocations_writes_deletes_replays() -> None:
    fresh = [Priority.REVOCATION, Priority.WRITE, Priority.DELETE]
    replays = [Priority.REPLAYED_REVOCATION, Priority.REPLAYED_WRITE, Priority.REPLAYED_DELETE]
    assert sorted([*replays, *fresh]) == [*fresh, *replays]


@pytest.mark.parametrize(
    ("priority", "request_kind", "is_retry"),
    [
        (Priority.REVOCATION, Priority.REVOCATION, False),
        (Priority.WRITE, Priority.WRITE, False),
        (Priority.DELETE, Priority.DELETE, False),
        (Priority.REPLAYED_REVOCATION, Priority.REVOCATION, False),
        (Priority.REPLAYED_WRITE, Priority.WRITE, False),
        (Priority.REPLAYED_DELETE, Priority.DELETE, False),
        (Priority.RETRIED_REVOCATION, Priority.REVOCATION, True),
        (Priority.RETRIED_WRITE, Priority.WRITE, True),
        (Priority.RETRIED_DELETE, Priority.DELETE, True),
        (Priority.ALONE, Priority.ALONE, False),
    ],
)
def test_queue_of_each_priority_has_one_request_kind(
    priority: Priority, request_kind: Priority, is_retry: bool
) -> None:
    assert (priority.request_kind, priority.is_retry) == (request_kind, is_retry)


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
def test_parent_of_a_field_is_the_referenced_entity(
    row: dict[str, object] | None, field: str | None, parent: EntityRef | None
) -> None:
    text = None if row is None else json.dumps(row)
    entity = make_entity(Kind.TRIP, is_removal=False, row=text)
    assert find_parent(entity, field) == parent
