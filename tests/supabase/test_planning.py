"""Shows the order and the bounds of writes, and that no entity is lost or written twice."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.entities import Kind, PendingEntity
from app.domain.failures import Failure, FailureKind
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.mapping import read_target
from app.supabase.planning import MAXIMUM_ROWS, Action, Write, plan_batch, write_filter
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitting import FITTED

PROJECT_URL = "https://abcdefghijklmnopqrst.supabase.co"
ORDER = [
    (Kind.MEMBERSHIP, Action.REMOVE),
    (Kind.USER, Action.UPSERT),
    (Kind.TRIP, Action.UPSERT),
    (Kind.MEMBERSHIP, Action.UPSERT),
    (Kind.TRIP, Action.REMOVE),
    (Kind.USER, Action.REMOVE),
]

entities = st.builds(
    make_entity,
    st.sampled_from(Kind),
    st.integers(0, 2**128 - 1),
    st.sampled_from(Action),
    parent=st.integers(0, 3),
)
batches = st.lists(entities, unique_by=lambda entity: entity.ref, max_size=60)


async def read_request_line(write: Write) -> httpx.Request:
    """Give the request that the client really makes of a write."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(204)

    transport = httpx.MockTransport(answer)
    async with open_http_client(PROJECT_URL, {}, timeout_seconds=1, transport=transport) as http:
        assert await SupabaseClient(http, clock=lambda: 0.0).apply(write) is None
    return requests[0]


# Order


@given(st.permutations([make_entity(kind, 1, action) for kind, action in ORDER]))
def test_plan_of_any_order_removes_children_first_and_parents_last(
    batch: list[PendingEntity],
) -> None:
    assert [(write.kind, write.action) for write in plan_batch(batch, MINIMAL_TARGETS)] == ORDER


def test_plan_of_nothing_is_nothing() -> None:
    assert plan_batch([], MINIMAL_TARGETS) == []


@given(st.permutations(range(40)))
def test_plan_of_any_order_sorts_by_key(numbers: list[int]) -> None:
    batch = [make_entity(Kind.USER, number, Action.UPSERT) for number in numbers]
    (write,) = plan_batch(batch, MINIMAL_TARGETS)
    assert [entity.ref.key for entity in write.entities] == [make_id(n) for n in range(40)]


@given(batches)
def test_plan_of_any_batch_holds_every_entity_once_where_it_belongs(
    batch: list[PendingEntity],
) -> None:
    writes = plan_batch(iter(batch), MINIMAL_TARGETS)
    written = [entity for write in writes for entity in write.entities]
    assert Counter(entity.ref for entity in written) == Counter(entity.ref for entity in batch)
    for write in writes:
        assert write.entities
        assert {entity.ref.kind for entity in write.entities} == {write.kind}
        assert {entity.row is None for entity in write.entities} == {write.action is Action.REMOVE}
    steps = [ORDER.index((write.kind, write.action)) for write in writes]
    assert steps == sorted(steps)
    for step in ORDER:
        keys = [
            entity.ref.key
            for write in writes
            if (write.kind, write.action) == step
            for entity in write.entities
        ]
        assert keys == sorted(keys)


# Bounds


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("count", "rows"),
    [
        (1, [1]),
        (MAXIMUM_ROWS, [500]),
        (MAXIMUM_ROWS + 1, [500, 1]),
        (1234, [500, 500, 234]),
    ],
)
def test_upserts_go_500_rows_a_request(kind: Kind, count: int, rows: list[int]) -> None:
    batch = [make_entity(kind, number, Action.UPSERT, parent=number) for number in range(count)]
    assert [len(write.entities) for write in plan_batch(batch, MINIMAL_TARGETS)] == rows


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("trips", [1, 7, 1200])
async def test_removals_fit_into_a_url_under_6_kb_as_it_is_sent(kind: Kind, trips: int) -> None:
    batch = [
        make_entity(kind, 2**127 + number, Action.REMOVE, parent=2**127 + number % trips)
        for number in range(1200)
    ]
    writes = plan_batch(batch, MINIMAL_TARGETS)
    assert sum(len(write.entities) for write in writes) == 1200
    assert len(writes) <= 1200 / 40  # bulk nevertheless
    for write in writes:
        assert len(write.entities) <= MAXIMUM_ROWS
        request = await read_request_line(write)
        assert len(str(request.url).encode()) < 6_000
        assert len(request.url.raw_path) < 6_000


# The filter of a removal


@pytest.mark.parametrize(
    ("kind", "removed", "name", "value"),
    [
        (Kind.USER, [(0, 1)], "id", "in.({1})"),
        (Kind.TRIP, [(0, 2), (0, 1)], "id", "in.({1},{2})"),
        (Kind.MEMBERSHIP, [(1, 2)], "or", "(and(trip_id.eq.{1},user_id.in.({2})))"),
        (
            Kind.MEMBERSHIP,
            [(9, 2), (1, 4), (9, 1), (1, 3)],
            "or",
            "(and(trip_id.eq.{1},user_id.in.({3},{4})),and(trip_id.eq.{9},user_id.in.({1},{2})))",
        ),
    ],
)
def test_filter_names_the_removed_rows_and_no_other(
    kind: Kind, removed: list[tuple[int, int]], name: str, value: str
) -> None:
    batch = [make_entity(kind, number, Action.REMOVE, parent=trip) for trip, number in removed]
    (write,) = plan_batch(batch, MINIMAL_TARGETS)
    assert write_filter(write) == (name, value.format(*(make_id(number) for number in range(10))))


@settings(max_examples=50)
@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_filter_of_any_memberships_selects_exactly_them(pairs: set[tuple[int, int]]) -> None:
    batch = [make_entity(Kind.MEMBERSHIP, user, Action.REMOVE, parent=trip) for trip, user in pairs]
    (write,) = plan_batch(batch, MINIMAL_TARGETS)
    _, value = write_filter(write)
    selected = set()
    for group in value.removeprefix("(and(").removesuffix("))").split(")),and("):
        trip, _, users = group.removesuffix(")").partition(",user_id.in.(")
        selected |= {(trip.removeprefix("trip_id.eq."), user) for user in users.split(",")}
    assert selected == {(make_id(trip), make_id(user)) for trip, user in pairs}


# Halves


@given(st.sampled_from(ORDER), st.integers(2, 60))
def test_split_halves_a_write_without_losing_or_moving_any(
    step: tuple[Kind, Action], count: int
) -> None:
    kind, action = step
    write = Write(
        MINIMAL_TARGETS[kind], action, tuple(make_entity(kind, n, action) for n in range(count))
    )
    first, second = write.split()
    assert first.entities + second.entities == write.entities
    assert abs(len(first.entities) - len(second.entities)) <= 1
    assert {(half.kind, half.action) for half in (first, second)} == {step}


def test_split_again_and_again_leaves_each_alone() -> None:
    batch = [make_entity(Kind.USER, number, Action.UPSERT) for number in range(MAXIMUM_ROWS)]
    pieces = plan_batch(batch, MINIMAL_TARGETS)
    rounds = 0
    while any(len(piece.entities) > 1 for piece in pieces):
        pieces = [
            half
            for piece in pieces
            for half in (piece.split() if len(piece.entities) > 1 else (piece,))
        ]
        rounds += 1
    assert rounds == 9  # the logarithm of 500
    assert [piece.entities[0] for piece in pieces] == batch
    assert all(
        one.entities[0].ref.key < other.entities[0].ref.key for one, other in pairwise(pieces)
    )


# Targets of other names


def lacks(field: str | None, code: str = "23502") -> Failure:
    return Failure(FailureKind.REFUSED, code, "null value", field=field)


@given(batches)
def test_plan_of_any_batch_keeps_its_order_whatever_the_targets(batch: list[PendingEntity]) -> None:
    fitted, minimal = plan_batch(batch, FITTED), plan_batch(batch, MINIMAL_TARGETS)
    assert [(w.kind, w.action, w.entities) for w in fitted] == [
        (w.kind, w.action, w.entities) for w in minimal
    ]


def test_rows_of_different_columns_go_in_different_writes_sorted_each() -> None:
    dates: dict[str, Any] = {"startDate": "2026-05-01", "endDate": None}
    batch = [
        make_entity(Kind.TRIP, 6, Action.UPSERT, **dates),
        make_entity(Kind.TRIP, 5, Action.UPSERT),
        make_entity(Kind.TRIP, 4, Action.UPSERT, endDate=None),
        make_entity(Kind.TRIP, 3, Action.UPSERT, **dates),
        make_entity(Kind.TRIP, 2, Action.UPSERT, unknown="x"),
        make_entity(Kind.TRIP, 1, Action.REMOVE),
        make_entity(Kind.USER, 1, Action.REMOVE),
    ]
    found = [
        (write.action, write.extra, write.missing, [entity.ref.key for entity in write.entities])
        for write in plan_batch(batch, FITTED)
        if write.kind is Kind.TRIP
    ]
    assert found == [
        (Action.UPSERT, (), ("startDate", "endDate"), [make_id(2), make_id(5)]),
        (Action.UPSERT, ("endDate",), ("startDate",), [make_id(4)]),
        (Action.UPSERT, ("startDate", "endDate"), (), [make_id(3), make_id(6)]),
        (Action.REMOVE, (), ("startDate", "endDate"), [make_id(1)]),
    ]


@pytest.mark.parametrize(
    ("takes_access", "targets", "action"),
    [
        (True, FITTED, Action.REMOVE),
        (False, FITTED, Action.UPSERT),
        (True, MINIMAL_TARGETS, Action.UPSERT),
        (False, MINIMAL_TARGETS, Action.UPSERT),
    ],
)
def test_membership_that_gives_no_access_is_removed_where_told_so(
    takes_access: bool, targets: Targets, action: Action
) -> None:
    entity = make_entity(Kind.MEMBERSHIP, 1, Action.UPSERT, status="INACTIVE")
    entity = replace(entity, version=entity.version._replace(is_removal=takes_access))
    (write,) = plan_batch([entity], targets)
    assert (write.action, write.entities) == (action, (entity,))


def test_filter_names_the_columns_of_the_target() -> None:
    (members,) = plan_batch([make_entity(Kind.MEMBERSHIP, 2, Action.REMOVE, parent=1)], FITTED)
    (trips,) = plan_batch([make_entity(Kind.TRIP, 1, Action.REMOVE)], FITTED)
    assert write_filter(members) == (
        "or",
        f"(and(trip_id.eq.{make_id(1)},member_id.in.({make_id(2)})))",
    )
    assert write_filter(trips) == ("tripId", f"in.({make_id(1)})")


async def test_removals_by_the_longest_names_fit_into_a_url_under_6_kb() -> None:
    columns = {"trip_id": "é" * 31, "user_id": "x" * 63}
    target = read_target(Kind.MEMBERSHIP, json.dumps({"columns": columns}))
    batch = [
        make_entity(Kind.MEMBERSHIP, number, Action.REMOVE, parent=number) for number in range(200)
    ]
    writes = plan_batch(batch, Targets(memberships=target))
    assert sum(len(write.entities) for write in writes) == 200
    assert len(writes) <= 200 / 12
    for write in writes:
        assert len((await read_request_line(write)).url.raw_path) < 6_000


# What is tried instead


def test_upsert_that_lacks_a_column_becomes_an_update_of_each_row() -> None:
    batch = [make_entity(Kind.TRIP, number, Action.UPSERT, endDate="x") for number in range(5)]
    (write,) = plan_batch(batch, FITTED)
    pieces = write.break_up(lacks("startDate"))
    assert [piece.entities for piece in pieces] == [(entity,) for entity in batch]
    assert {(piece.action, piece.extra) for piece in pieces} == {(Action.UPDATE, ("endDate",))}
    # An update that is refused is the end of it.
    assert {piece.break_up(lacks("startDate")) for piece in pieces} == {()}


@pytest.mark.parametrize(
    "failure",
    [
        lacks("endDate"),  # it was sent, as null
        lacks(None),  # a column that nothing is mapped to
        lacks("startDate", "23514"),
    ],
)
def test_write_refused_for_another_reason_is_halved_until_alone(failure: Failure) -> None:
    batch = [make_entity(Kind.TRIP, number, Action.UPSERT, endDate=None) for number in range(5)]
    (write,) = plan_batch(batch, FITTED)
    assert write.break_up(failure) == write.split()
    assert replace(write, entities=write.entities[:1]).break_up(failure) == ()


def test_write_of_a_minimal_target_is_never_an_update() -> None:
    (write,) = plan_batch([make_entity(Kind.USER, 1, Action.UPSERT)], MINIMAL_TARGETS)
    assert write.break_up(lacks("email")) == ()
