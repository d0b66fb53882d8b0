"""The operations for entities: their order, rows and columns."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import Kind, PendingEntity
from app.domain.instants import Instant
from app.supabase.planning import Operation, Verb, is_delete, plan_request
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitted_targets import FITTED

ORDER = [
    (Kind.MEMBERSHIP, True),
    (Kind.USER, False),
    (Kind.TRIP, False),
    (Kind.MEMBERSHIP, False),
    (Kind.TRIP, True),
    (Kind.USER, True),
]


def mark_conflicting(entity: PendingEntity, attempts: int = 2) -> PendingEntity:
    """Make an entity with this many unique conflicts."""
    return replace(entity, last_error_code="23505", attempts=attempts, waiting_since=Instant(0))


entities = st.builds(
    lambda kind, number, is_removed, parent, note, attempts: mark_conflicting(
        make_entity(kind, number, is_removed=is_removed, parent=parent, **note), attempts
    ),
    st.sampled_from(Kind),
    st.integers(0, 2**128 - 1),
    st.booleans(),
    st.integers(0, 3),
    st.fixed_dictionaries({}, optional={"note": st.none(), "endDate": st.text()}),
    st.integers(0, 3),
)
batches = st.lists(entities, unique_by=lambda entity: entity.ref, max_size=60)


def read_rows(operation: Operation) -> list[dict[str, Any]]:
    return [json.loads(row) for row in operation.rows]


def list_keys(operations: Sequence[Operation]) -> list[list[str]]:
    return [[entity.ref.key for entity in operation.entities] for operation in operations]


# Order


@given(st.permutations([make_entity(kind, 1, is_removed=removed) for kind, removed in ORDER]))
def test_plan_of_any_order_deletes_children_first_and_parents_last(
    batch: list[PendingEntity],
) -> None:
    operations = plan_request(batch, MINIMAL_TARGETS)
    assert [(each.target.kind, each.verb is Verb.DELETE) for each in operations] == ORDER
    assert {each.verb for each in operations} == {Verb.DELETE, Verb.UPSERT}


def test_plan_of_no_entities_is_empty() -> None:
    assert plan_request([], MINIMAL_TARGETS) == []


@given(st.permutations(range(40)))
def test_plan_of_any_order_sorts_by_key(numbers: list[int]) -> None:
    batch = [make_entity(Kind.USER, number) for number in numbers]
    operations = plan_request(batch, MINIMAL_TARGETS)
    assert list_keys(operations) == [[make_id(number) for number in range(40)]]


@given(batches, st.sampled_from([MINIMAL_TARGETS, FITTED]))
def test_plan_of_any_batch_writes_each_entity_once_to_its_table(
    batch: list[PendingEntity], targets: Targets
) -> None:
    operations = plan_request(iter(batch), targets)
    written = [entity for each in operations if not each.is_placeholder for entity in each.entities]
    assert Counter(entity.ref for entity in written) == Counter(entity.ref for entity in batch)
    for operation in operations:
        assert operation.entities
        assert operation.target == targets[operation.entities[0].ref.kind]
        assert {entity.ref.kind for entity in operation.entities} == {operation.target.kind}
        deletes = {is_delete(entity, targets) for entity in operation.entities}
        assert deletes == {operation.verb is Verb.DELETE}
        keys = [entity.ref.key for entity in operation.entities]
        assert keys == sorted(keys)
        # PostgreSQL uses the columns of the first row for all rows.
        columns = {tuple(row) for row in read_rows(operation)}
        assert len(columns) == 1
        assert set(operation.target.key_columns) <= set(*columns)
    steps = [ORDER.index((each.target.kind, each.verb is Verb.DELETE)) for each in operations]
    assert steps == sorted(steps)


# Rows


@pytest.mark.parametrize("kind", Kind)
def test_row_of_a_minimal_target_is_the_stored_row(kind: Kind) -> None:
    entity = make_entity(kind, 1, parent=2)
    (operation,) = plan_request([entity], MINIMAL_TARGETS)
    assert (operation.verb, operation.rows) == (Verb.UPSERT, (entity.row,))


@pytest.mark.parametrize("kind", Kind)
def test_stored_field_no_longer_configured_is_not_sent(kind: Kind) -> None:
    (operation,) = plan_request([make_entity(kind, 1, startDate="x")], MINIMAL_TARGETS)
    (row,) = read_rows(operation)
    assert tuple(row) == MINIMAL_TARGETS[kind].written_columns


def test_row_has_mapped_columns_copies_and_constants_in_their_order() -> None:
    (operation,) = plan_request([make_entity(Kind.USER, 1)], FITTED)
    assert operation.rows == (
        f'{{"id":"{make_id(1)}","email":"é","username":"é","supabase_id":"{make_id(1)}",'
        '"deleted_at":null,"source":{"by":"relay"}}',
    )


@pytest.mark.parametrize(
    ("kind", "key", "fitted_key"),
    [
        (Kind.USER, {"id": make_id(1)}, {"id": make_id(1)}),
        (Kind.TRIP, {"id": make_id(1)}, {"tripId": make_id(1)}),
        (
            Kind.MEMBERSHIP,
            {"trip_id": make_id(9), "user_id": make_id(1)},
            {"trip_id": make_id(9), "member_id": make_id(1)},
        ),
    ],
)
def test_row_of_a_delete_is_its_key(
    kind: Kind, key: dict[str, str], fitted_key: dict[str, str]
) -> None:
    entity = make_entity(kind, 1, is_removed=True, parent=9)
    for targets, expected in ((MINIMAL_TARGETS, key), (FITTED, fitted_key)):
        (operation,) = plan_request([entity], targets)
        assert operation.verb is Verb.DELETE
        assert read_rows(operation) == [expected]
        assert tuple(expected) == targets[kind].key_columns


def test_rows_without_an_extra_field_are_updates_grouped_by_columns() -> None:
    dates: dict[str, Any] = {"startDate": "2026-05-01", "endDate": None}
    batch = [
        make_entity(Kind.TRIP, 6, **dates),
        make_entity(Kind.TRIP, 5),
        make_entity(Kind.TRIP, 4, endDate=None),
        make_entity(Kind.TRIP, 3, **dates),
        make_entity(Kind.TRIP, 2, unknown="x"),
    ]
    operations = plan_request(batch, FITTED)
    found = [(each.verb, each.extra, each.missing_columns) for each in operations]
    assert found == [
        (Verb.UPDATE, (), ("start_date", "end_date")),
        (Verb.UPDATE, ("endDate",), ("start_date",)),
        (Verb.UPSERT, ("startDate", "endDate"), ()),
    ]
    assert list_keys(operations) == [
        [make_id(2), make_id(5)],
        [make_id(4)],
        [make_id(3), make_id(6)],
    ]
    assert [tuple(read_rows(each)[0]) for each in operations] == [
        ("tripId", "title", "created_by"),
        ("tripId", "title", "created_by", "end_date"),
        ("tripId", "title", "created_by", "start_date", "end_date"),
    ]


@pytest.mark.parametrize(
    ("is_removal", "targets", "verb"),
    [
        (True, FITTED, Verb.DELETE),
        (False, FITTED, Verb.UPSERT),
        (True, MINIMAL_TARGETS, Verb.UPSERT),
        (False, MINIMAL_TARGETS, Verb.UPSERT),
    ],
)
def test_membership_without_access_is_deleted_if_configured(
    is_removal: bool, targets: Targets, verb: Verb
) -> None:
    entity = make_entity(Kind.MEMBERSHIP, 1, status="INACTIVE", note=None)
    entity = replace(entity, version=entity.version._replace(is_removal=is_removal))
    (operation,) = plan_request([entity], targets)
    assert (operation.verb, operation.entities) == (verb, (entity,))
    assert is_delete(entity, targets) is (verb is Verb.DELETE)


# Unique values that move between rows


def test_two_conflicting_rows_get_placeholders_first() -> None:
    batch = [
        mark_conflicting(make_entity(Kind.USER, 1)),
        make_entity(Kind.USER, 2),
        mark_conflicting(make_entity(Kind.USER, 3)),
    ]
    placeholders, writes = plan_request(batch, FITTED)
    assert (placeholders.is_placeholder, writes.is_placeholder) == (True, False)
    assert list_keys([placeholders, writes]) == [
        [make_id(1), make_id(3)],
        [make_id(1), make_id(2), make_id(3)],
    ]
    for number, row in zip((1, 3), read_rows(placeholders), strict=True):
        assert row == {
            "id": make_id(number),
            "email": f"{make_id(number)}@placeholder.invalid",
            "username": make_id(number),
            "supabase_id": make_id(number),
            "deleted_at": None,
            "source": {"by": "relay"},
        }
    assert {row["email"] for row in read_rows(writes)} == {"é"}


def test_placeholder_of_a_trip_keeps_its_references() -> None:
    batch = [mark_conflicting(make_entity(Kind.TRIP, n, created_by=make_id(9))) for n in (1, 2)]
    placeholders, _ = plan_request(batch, MINIMAL_TARGETS)
    assert read_rows(placeholders) == [
        {"id": make_id(n), "name": make_id(n), "created_by": make_id(9)} for n in (1, 2)
    ]


def test_conflicting_rows_of_different_columns_get_placeholders_before_any_write() -> None:
    batch = [
        mark_conflicting(make_entity(Kind.TRIP, 1, startDate="x", endDate="y")),
        mark_conflicting(make_entity(Kind.TRIP, 2)),
    ]
    operations = plan_request(batch, FITTED)
    assert [each.is_placeholder for each in operations] == [True, True, False, False]
    assert [each.verb for each in operations] == [Verb.UPDATE, Verb.UPSERT] * 2


@pytest.mark.parametrize(
    "batch",
    [
        [mark_conflicting(make_entity(Kind.USER, 1))],
        # A first conflict may resolve by itself.
        [mark_conflicting(make_entity(Kind.USER, number), attempts=1) for number in (1, 2)],
        [
            mark_conflicting(make_entity(Kind.USER, 1)),
            mark_conflicting(make_entity(Kind.USER, 2), attempts=1),
        ],
        # Of two tables.
        [mark_conflicting(make_entity(kind, 1)) for kind in (Kind.USER, Kind.TRIP)],
        # The values of a membership are its key and two enumerations.
        [mark_conflicting(make_entity(Kind.MEMBERSHIP, number)) for number in (1, 2)],
        # Failed for another reason.
        [
            replace(mark_conflicting(make_entity(Kind.USER, number)), last_error_code="23503")
            for number in (1, 2)
        ],
        [mark_conflicting(make_entity(Kind.USER, number, is_removed=True)) for number in (1, 2)],
    ],
)
def test_single_conflicting_row_gets_no_placeholder(
    batch: list[PendingEntity],
) -> None:
    assert not any(each.is_placeholder for each in plan_request(batch, MINIMAL_TARGETS))
