"""What differs between a source and the desired state, and what it means."""

from dataclasses import dataclass, field

import pytest

from app.cli.client.desired_state import EntityAnswer
from app.cli.source.differences import Differences
from app.cli.source.snapshot import Snapshot
from app.domain.drift import DifferenceKind, Effect, Origin, Repair
from app.domain.entities import EntityRef, Kind
from app.domain.instants import after
from tests.cli.source.sides import (
    ANA,
    AT,
    BEN,
    OLD_TRIP,
    TRIP,
    Row,
    compare,
    fill,
    held,
    member,
    ref_of,
    removed,
    trip,
    user,
)

Entities = list[tuple[EntityRef, EntityAnswer]]


@dataclass(frozen=True)
class Case:
    """A source, the entities of the relay, and the difference of one of them."""

    rows: list[Row]
    entities: Entities
    of: Row
    difference: DifferenceKind
    effect: Effect
    origin: Origin
    repair: Repair
    columns: tuple[str, ...] = ()
    note: str | None = None
    context: list[Row] = field(default_factory=lambda: [user(), trip()])


CHANGED, UNKNOWN, REMOVED = Origin.CHANGED, Origin.UNKNOWN_TO_US, Origin.REMOVED_BY_US
EXTRA, MISSING, DIFFERENT = (
    DifferenceKind.EXTRA,
    DifferenceKind.MISSING,
    DifferenceKind.DIFFERENT,
)
LEAKS, DENIES, OTHER = Effect.LEAKS, Effect.DENIES, Effect.OTHER
WRITE, DELETE, NONE = Repair.WRITE, Repair.DELETE, Repair.NONE

CASES = {
    "extra member": Case(
        [], [held(member())], member(), EXTRA, LEAKS, CHANGED, DELETE
    ),
    "extra member that is not active": Case(
        [], [held(member(status="INACTIVE"))], member(), EXTRA, OTHER, CHANGED, DELETE
    ),
    "extra member of an unknown role": Case(
        [], [held(member(role="PILOT"))], member(), EXTRA, LEAKS, CHANGED, DELETE
    ),
    "member that the source made inactive": Case(
        [member(status="INACTIVE")],
        [held(member())],
        member(),
        DIFFERENT,
        LEAKS,
        CHANGED,
        WRITE,
        columns=("status",),
    ),
    "member of an unknown role that the source made inactive": Case(
        [member(status="INACTIVE")],
        [held(member(role="PILOT"))],
        member(),
        DIFFERENT,
        LEAKS,
        CHANGED,
        WRITE,
    ),
    "member that the source made active": Case(
        [member(role="OWNER")],
        [held(member(status="INACTIVE"))],
        member(),
        DIFFERENT,
        DENIES,
        CHANGED,
        WRITE,
        columns=("role", "status"),
    ),
    "member of another role": Case(
        [member(role="OWNER")],
        [held(member())],
        member(),
        DIFFERENT,
        OTHER,
        CHANGED,
        WRITE,
        columns=("role",),
    ),
    "member without any event": Case(
        [member()], [], member(), MISSING, DENIES, UNKNOWN, WRITE
    ),
    "member that the relay removed": Case(
        [member()], [removed(member())], member(), MISSING, DENIES, REMOVED, WRITE
    ),
    "missing member that is not active": Case(
        [member(status="INACTIVE")], [], member(), MISSING, OTHER, UNKNOWN, WRITE
    ),
    "missing member without a trip": Case(
        [member()],
        [],
        member(),
        MISSING,
        DENIES,
        UNKNOWN,
        NONE,
        note="the source lacks its trip or its user",
        context=[user()],
    ),
    "missing user": Case([user()], [], user(), MISSING, DENIES, UNKNOWN, WRITE, context=[]),
    "missing trip": Case(
        [trip()], [removed(trip())], trip(), MISSING, DENIES, REMOVED, WRITE, context=[]
    ),
    "renamed user": Case(
        [user(name="bo")], [held(user())], user(), DIFFERENT, OTHER, CHANGED, WRITE, context=[]
    ),
    "extra user": Case(
        [], [held(user(BEN))], user(BEN), EXTRA, OTHER, CHANGED, DELETE
    ),
    "extra trip": Case(
        [], [held(trip(OLD_TRIP))], trip(OLD_TRIP), EXTRA, OTHER, CHANGED, DELETE
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_difference_is_described_by_what_it_does(case: Case) -> None:
    # Both sides have the context.
    entities = [*case.entities, *map(held, case.context)]
    with Snapshot() as snapshot, Differences() as differences:
        _, found = compare(fill(snapshot, [*case.rows, *case.context]), differences, entities)
    (difference,) = found
    assert difference.ref == ref_of(case.of)
    assert (difference.kind, difference.effect) == (case.difference, case.effect)
    assert (difference.origin, difference.repair) == (case.origin, case.repair)
    assert (difference.columns, difference.note) == (case.columns, case.note)


EQUAL: dict[str, tuple[list[Row], Entities]] = {
    "nothing": ([], []),
    "the same rows": (
        [user(), trip(), member()],
        [held(user()), held(trip()), held(member())],
    ),
    "tombstones": ([user()], [held(user()), removed(trip()), removed(member(BEN))]),
    "changes after the snapshot": (
        [user(), trip()],
        [
            held(user(name="bo"), at=after(AT, 0.000001)),
            removed(trip(), at=after(AT, 5)),
            held(member(BEN), at=after(AT, 5)),
        ],
    ),
}


@pytest.mark.parametrize(("rows", "entities"), EQUAL.values(), ids=EQUAL)
def test_what_is_equal_or_newer_does_not_differ(rows: list[Row], entities: Entities) -> None:
    with Snapshot() as snapshot, Differences() as differences:
        _, found = compare(fill(snapshot, rows), differences, entities)
        assert found == []
        assert differences.compute_plan_id() is None


def test_change_at_the_time_of_the_snapshot_counts() -> None:
    with Snapshot() as snapshot, Differences() as differences:
        counts, found = compare(fill(snapshot, []), differences, [held(user(), at=AT)])
    assert (counts.newer, len(found)) == (0, 1)


def test_rows_are_counted_on_both_sides() -> None:
    newer = held(user(BEN, "ben"), at=after(AT, 1))
    with Snapshot() as snapshot, Differences() as differences:
        counts, _ = compare(
            fill(snapshot, [user(), trip()]), differences, [held(user()), newer, removed(trip())]
        )
    assert counts.source_rows == {Kind.MEMBERSHIP: 0, Kind.TRIP: 1, Kind.USER: 1}
    assert counts.relay_rows == {Kind.MEMBERSHIP: 0, Kind.TRIP: 0, Kind.USER: 2}
    assert counts.newer == 1


@pytest.mark.parametrize("unsent", [member(), trip(), user()], ids=["member", "trip", "user"])
def test_membership_with_an_unsent_event_does_not_count(unsent: Row) -> None:
    with Snapshot() as snapshot, Differences() as differences:
        fill(snapshot, [user(), trip()])
        snapshot.add_unsent(ref_of(unsent))
        entities = [held(user()), held(trip()), held(member()), held(member(BEN, OLD_TRIP))]
        counts, found = compare(snapshot, differences, entities)
    assert counts.unsent == 1
    assert [each.ref for each in found] == [ref_of(member(BEN, OLD_TRIP))]


def test_differences_are_reported_leaks_first_then_by_kind_and_key() -> None:
    rows = [user(), trip(), member(ANA), user(BEN, "bo")]
    entities = [held(member(BEN)), held(member(BEN, OLD_TRIP)), held(trip(name="Porto"))]
    with Snapshot() as snapshot, Differences() as differences:
        _, found = compare(fill(snapshot, rows), differences, entities)
    assert [(each.effect, each.ref.kind, each.ref.key) for each in found] == [
        (LEAKS, Kind.MEMBERSHIP, f"{TRIP}/{BEN}"),
        (LEAKS, Kind.MEMBERSHIP, f"{OLD_TRIP}/{BEN}"),
        (DENIES, Kind.MEMBERSHIP, f"{TRIP}/{ANA}"),
        (DENIES, Kind.USER, ANA),
        (DENIES, Kind.USER, BEN),
        (OTHER, Kind.TRIP, TRIP),
    ]


def test_plan_id_depends_on_what_is_repaired_only() -> None:
    plans = []
    for rows, entities in (
        ([user()], [held(user(BEN))]),
        ([user(name="other")], [held(user(BEN, "other"), at=after(AT, -5))]),
        ([user()], []),
        ([user()], [held(user(name="other")), held(user(BEN))]),
    ):
        with Snapshot() as snapshot, Differences() as differences:
            compare(fill(snapshot, rows), differences, entities)
            plans.append(differences.compute_plan_id())
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3
    assert all(plan is not None and len(plan) == 12 for plan in plans)
