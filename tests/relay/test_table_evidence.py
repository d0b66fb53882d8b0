"""When a failure is the table's, and when it is the row's own."""

import pytest

from app.domain.entities import EntityKey, EntityRef, Kind
from app.domain.failures import RowFailure, RowFailureKind
from app.relay.table_evidence import TableEvidence
from app.store.dispatch_queries import Held

WRITES, DELETES = Held(Kind.TRIP, False), Held(Kind.TRIP, True)
NO_TABLE = RowFailure(RowFailureKind.STRUCTURAL, "42P01", "no table")
NO_COLUMN = RowFailure(RowFailureKind.STRUCTURAL, "42703", "no column")
A, B, C = (EntityRef(Kind.TRIP, EntityKey(key)) for key in "abc")


def fail(
    evidence: TableEvidence,
    *refs: EntityRef,
    place: Held = WRITES,
    failure: RowFailure = NO_TABLE,
    now: float = 0.0,
) -> float:
    return evidence.record_failures(place, refs, failure, now, 1.0)


def test_nothing_is_held_at_first() -> None:
    evidence = TableEvidence()
    assert evidence.held == {}
    assert evidence.begin_trial(0.0) is None
    assert evidence.seconds_until_trial(0.0) is None
    assert not evidence.is_own_failure(A)


def test_one_row_failing_repeatedly_holds_nothing() -> None:
    evidence = TableEvidence()
    for now in range(100):
        fail(evidence, A, now=now)
    assert evidence.held == {}
    assert evidence.begin_trial(1_000.0) is None


@pytest.mark.parametrize("requests", [[(A, B)], [(A,), (B,)], [(A,), (A,), (B,)]])
def test_two_failing_rows_without_success_hold_their_place(
    requests: list[tuple[EntityRef, ...]],
) -> None:
    evidence = TableEvidence()
    for refs in requests:
        fail(evidence, *refs)
    assert evidence.held == {WRITES: NO_TABLE}


def test_place_is_held_for_its_latest_failure() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B)
    fail(evidence, C, failure=NO_COLUMN)
    assert evidence.held == {WRITES: NO_COLUMN}


@pytest.mark.parametrize("other", [DELETES, Held(Kind.USER, False)])
def test_writes_and_deletes_of_a_table_are_separate_places(other: Held) -> None:
    evidence = TableEvidence()
    fail(evidence, A)
    fail(evidence, B, place=other)
    assert evidence.held == {}
    fail(evidence, A, B)
    assert evidence.held == {WRITES: NO_TABLE}
    evidence.record_successes(other, [C])
    assert evidence.held == {WRITES: NO_TABLE}


def test_success_releases_the_place_and_makes_earlier_failures_the_rows_own() -> None:
    evidence = TableEvidence()
    fail(evidence, A)
    fail(evidence, B)
    evidence.record_successes(WRITES, [C])
    assert evidence.held == {}
    assert [evidence.is_own_failure(ref) for ref in (A, B, C)] == [True, True, False]


def test_failure_is_a_rows_own_until_it_succeeds_itself() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B)
    evidence.record_successes(WRITES, [B])
    assert [evidence.is_own_failure(ref) for ref in (A, B)] == [True, False]
    evidence.record_successes(WRITES, [A])
    assert not evidence.is_own_failure(A)


def test_rows_that_failed_before_a_success_hold_nothing_after_it() -> None:
    evidence = TableEvidence()
    fail(evidence, A)
    evidence.record_successes(WRITES, [C])
    fail(evidence, B)
    assert evidence.held == {}


# Trials


def test_trial_waits_for_a_backoff_that_grows_with_each_failure() -> None:
    evidence = TableEvidence()
    now = 0.0
    waits = [fail(evidence, A, B, now=now)]
    for ref in (C, A, B):
        now += waits[-1]
        assert evidence.seconds_until_trial(now - 0.25) == 0.25
        assert evidence.begin_trial(now - 0.25) is None
        assert evidence.begin_trial(now) == WRITES
        waits.append(fail(evidence, ref, now=now))
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_trial_without_an_answer_is_not_repeated_at_once() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B)
    assert evidence.begin_trial(10.0) == WRITES
    assert evidence.begin_trial(10.0) is None
    assert evidence.seconds_until_trial(10.0) == 0.5
    assert evidence.begin_trial(10.5) == WRITES


def test_every_held_place_gets_its_trial() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B)
    fail(evidence, A, B, place=DELETES)
    assert {evidence.begin_trial(1.0), evidence.begin_trial(1.0)} == {WRITES, DELETES}
    assert evidence.begin_trial(1.0) is None


def test_next_trial_is_of_the_place_due_first() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B, now=5.0)
    fail(evidence, A, B, place=DELETES, now=2.0)
    assert evidence.seconds_until_trial(2.0) == 0.5
    assert evidence.begin_trial(2.5) == DELETES


def test_trials_of_all_held_places_are_listed() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B, now=5.0)
    fail(evidence, A, B, place=DELETES, now=2.0)
    assert evidence.list_trials(5.25) == {WRITES: 0.25, DELETES: 0.0}


def test_place_without_a_row_left_to_try_is_released() -> None:
    evidence = TableEvidence()
    fail(evidence, A, B)
    evidence.end_trial(WRITES)
    assert evidence.held == {}
    assert evidence.seconds_until_trial(0.0) is None
    # Without a success, no row is at fault.
    assert not evidence.is_own_failure(A)
