"""Filters of events, in a query and in a body."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.api.filters import (
    MAXIMUM_TYPES,
    Entity,
    EntityPath,
    InstantText,
    Types,
    TypesParameter,
    check_range,
)
from app.domain.entities import EntityRef, Kind
from app.domain.events import EventType
from tests.api.relay_harness import NOW, TRIP, USER

INSTANT: TypeAdapter[int] = TypeAdapter(InstantText)
TYPES: TypeAdapter[tuple[EventType, ...]] = TypeAdapter(Types)
TYPES_PARAMETER: TypeAdapter[tuple[EventType, ...]] = TypeAdapter(TypesParameter)
ENTITY: TypeAdapter[EntityRef] = TypeAdapter(Entity)
ENTITY_PATH: TypeAdapter[EntityRef] = TypeAdapter(EntityPath)

REFS = {
    Kind.USER: USER,
    Kind.TRIP: TRIP,
    Kind.MEMBERSHIP: f"{TRIP}/{USER}",
}


def assert_refused(adapter: TypeAdapter[Any], value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    assert len(caught.value.errors()) == 1


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-01-02T03:04:05Z", int(NOW) * 1_000_000),
        ("2026-01-02t03:04:05z", int(NOW) * 1_000_000),
        ("2026-01-02T04:04:05.123456789+01:00", int(NOW) * 1_000_000 + 123_456),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_instant_is_read_as_the_timestamp_of_an_event_is(text: str, microseconds: int) -> None:
    assert INSTANT.validate_python(text) == microseconds


@pytest.mark.parametrize(
    "value",
    ["", "now", "2026-01-02", "2026-01-02T03:04:05", "2026-02-30T00:00:00Z", 1767323045, 1.5, True,
     "2026-01-02 03:04:05Z", "2026-01-02T03:04:05Z ", "٢٠٢٦-01-02T03:04:05Z", ["2026-01-02"]],
)  # fmt: skip
def test_instant_of_another_form_is_rejected(value: object) -> None:
    assert_refused(INSTANT, value)


@pytest.mark.parametrize("event_type", EventType)
def test_type_names_itself(event_type: EventType) -> None:
    assert TYPES.validate_python([event_type.value]) == (event_type,)


@pytest.mark.parametrize("kind", Kind)
def test_type_with_a_star_names_all_of_its_kind(kind: Kind) -> None:
    names = TYPES.validate_python([f"{kind}.*"])
    assert {name.value for name in names} == {
        f"{kind}.{action}" for action in ("created", "updated", "deleted")
    }


def test_types_mean_the_same_in_any_order_and_repetition() -> None:
    patterns = ["trip.deleted", "user.*", "trip.created", "user.created"]
    meant = {tuple(TYPES.validate_python(list(order))) for order in permutations(patterns)}
    assert len(meant) == 1
    assert meant == {TYPES.validate_python(patterns * 3)}


@pytest.mark.parametrize(
    "value",
    [[], "user.*", None, ["*"], ["user"], ["user."], ["USER.*"], ["user.renamed"], ["user.*", 7],
     ["user.*", None], [["user.*"]], ["user.*"] * (MAXIMUM_TYPES + 1), {"user.*": 1}, [" user.*"]],
)  # fmt: skip
def test_types_of_another_form_are_rejected(value: object) -> None:
    assert_refused(TYPES, value)


def test_types_in_a_query_are_split_at_commas() -> None:
    meant = TYPES.validate_python(["user.*", "trip.created", "trip.deleted"])
    assert TYPES_PARAMETER.validate_python(["user.*,trip.created", "trip.deleted"]) == meant


@pytest.mark.parametrize(
    "value", [[""], [","], ["user.*,"], ["user.*, trip.*"], ["user.*," * 60 + "user.*"]]
)
def test_types_in_a_query_of_another_form_are_rejected(value: list[str]) -> None:
    assert_refused(TYPES_PARAMETER, value)


@pytest.mark.parametrize("kind", Kind)
def test_entity_is_the_same_in_a_body_and_in_a_query(kind: Kind) -> None:
    ref = EntityRef(kind, ENTITY.validate_python({"kind": kind.value, "key": REFS[kind]}).key)
    assert ref.key == REFS[kind]
    for key in (REFS[kind], REFS[kind].upper()):
        assert ENTITY.validate_python({"kind": kind.value, "key": key}) == ref
        assert ENTITY_PATH.validate_python(f"{kind}/{key}") == ref


@pytest.mark.parametrize(
    "value",
    [
        None,
        "trip",
        [],
        {},
        {"kind": "trip"},
        {"key": TRIP},
        {"kind": "trip", "key": TRIP, "more": 1},
        {"kind": "Trip", "key": TRIP},
        {"kind": None, "key": TRIP},
        {"kind": ["trip"], "key": TRIP},
        {"kind": {}, "key": TRIP},
        {"kind": "trip", "key": None},
        {"kind": "trip", "key": 7},
        {"kind": "trip", "key": ""},
        {"kind": "trip", "key": f"{TRIP}/{USER}"},
        {"kind": "trip", "key": f"{TRIP}\n"},
        {"kind": "membership", "key": TRIP},
        {"kind": "membership", "key": f"{TRIP}/"},
        {"kind": "membership", "key": f"/{USER}"},
        {"kind": "membership", "key": f"{TRIP}/{USER}/{USER}"},
        {"kind": "membership", "key": f"{TRIP} / {USER}"},
    ],
    ids=str,
)
def test_entity_of_another_form_is_rejected(value: object) -> None:
    assert_refused(ENTITY, value)


@pytest.mark.parametrize(
    "value", ["", "/", "trip", "trip/", f"/{TRIP}", f"trip//{TRIP}", f"Trip/{TRIP}", TRIP, 7]
)
def test_entity_in_a_query_of_another_form_is_rejected(value: object) -> None:
    assert_refused(ENTITY_PATH, value)


@given(value=st.text(max_size=90))
def test_entity_of_any_text_is_read_or_rejected(value: str) -> None:
    try:
        ref = ENTITY_PATH.validate_python(value)
    except ValidationError:
        return
    assert value.lower() == f"{ref.kind}/{ref.key}"


@pytest.mark.parametrize(("since", "until"), [(None, None), (1, None), (None, 1), (1, 2)])
def test_range_that_something_can_lie_in_is_accepted(since: int | None, until: int | None) -> None:
    check_range(since, until)


@pytest.mark.parametrize(("since", "until"), [(2, 1), (1, 1)])
def test_range_that_is_reversed_or_empty_is_rejected(since: int, until: int) -> None:
    with pytest.raises(ValueError, match="until must be later than since"):
        check_range(since, until)
