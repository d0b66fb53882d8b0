"""The outcome of each entity of a request, and to what a failure is attributed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from app.domain.clocks import Clocks
from app.domain.degradation import REMINDER_SECONDS
from app.domain.entities import EntityState, Kind, PendingEntity, Priority
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.domain.instants import Instant, after, from_seconds
from app.relay.measurements import Measurements
from app.relay.outcomes import OutcomeReader
from app.store.dispatch_queries import Held
from app.store.outcome_queries import Applied, Failed, Outcome, Postponed
from app.supabase.client import ApplyResult, RowPosition
from app.supabase.planning import Operation, plan_request
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.auth.issuer import Clock
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitted_targets import FITTED

CLOCK_SECONDS = 1_767_323_045.0
NOW = from_seconds(CLOCK_SECONDS)
STRUCTURAL = RowFailure(RowFailureKind.STRUCTURAL, "42501", "no privilege")
BUSY = RowFailure(RowFailureKind.BUSY, "55P03", "locked")
REJECTED = RowFailure(RowFailureKind.REJECTED, "23514", "no")
WRITES, DELETES = Held(Kind.USER, False), Held(Kind.USER, True)

Failures = Mapping[PendingEntity, RowFailure]


@pytest.fixture
def clock() -> Clock:
    return Clock(CLOCK_SECONDS)


@pytest.fixture
def reader(clock: Clock) -> OutcomeReader:
    return OutcomeReader(Clocks(clock, clock, lambda: 1.0), Measurements())


def locate(operations: Sequence[Operation], entity: PendingEntity) -> RowPosition:
    """Find the position of the row of an entity."""
    return next(
        RowPosition(number, operation.entities.index(entity))
        for number, operation in enumerate(operations)
        if entity in operation.entities and not operation.is_placeholder
    )


def apply(
    reader: OutcomeReader,
    *entities: PendingEntity,
    failures: Failures | None = None,
    not_tried: Sequence[PendingEntity] = (),
    targets: Targets = MINIMAL_TARGETS,
) -> dict[str, Outcome]:
    """Read the result of one request of these entities; return the outcomes by key."""
    operations = plan_request(entities, targets)
    answer = ApplyResult(
        {locate(operations, entity): failure for entity, failure in (failures or {}).items()},
        frozenset(locate(operations, entity) for entity in not_tried),
    )
    outcomes = reader.read_result(operations, answer)
    by_key = {outcome.entity.ref.key: outcome for outcome in outcomes}
    assert len(by_key) == len(outcomes)
    return {str(key): outcome for key, outcome in by_key.items()}


def fail_all(
    reader: OutcomeReader,
    *entities: PendingEntity,
    failure: RowFailure = STRUCTURAL,
    targets: Targets = MINIMAL_TARGETS,
) -> list[Failed]:
    """Read a result in which all rows failed; return the outcomes in order."""
    outcomes = apply(reader, *entities, failures=dict.fromkeys(entities, failure), targets=targets)
    found = [outcomes[entity.ref.key] for entity in entities]
    return [outcome for outcome in found if isinstance(outcome, Failed)]


def record(failed: Failed) -> PendingEntity:
    """Return the entity as it is claimed again after its failure was recorded."""
    decision = failed.decision
    return replace(
        failed.entity,
        attempts=decision.attempts,
        waiting_since=decision.waiting_since,
        last_error_code=failed.code,
    )


def user(number: int, *, is_removed: bool = False) -> PendingEntity:
    return make_entity(Kind.USER, number, is_removed=is_removed)


# Each row


def test_row_not_listed_is_applied_and_row_not_tried_has_no_outcome(
    reader: OutcomeReader,
) -> None:
    one, two, three = user(1), user(2), user(3)
    outcomes = apply(reader, one, two, three, failures={two: REJECTED}, not_tried=[three])
    assert outcomes[make_id(1)] == Applied(one, NOW)
    assert isinstance(outcomes[make_id(2)], Failed)
    assert make_id(3) not in outcomes


def test_rows_of_several_operations_keep_their_outcomes(reader: OutcomeReader) -> None:
    removed, written = user(1, is_removed=True), user(2)
    member = make_entity(Kind.MEMBERSHIP, 3, parent=4)
    outcomes = apply(reader, removed, written, member, failures={written: BUSY})
    assert outcomes[removed.ref.key] == Applied(removed, NOW)
    assert outcomes[member.ref.key] == Applied(member, NOW)
    assert isinstance(outcomes[written.ref.key], Failed)


def test_placeholder_has_no_outcome(reader: OutcomeReader) -> None:
    conflicting = [
        replace(user(number), last_error_code="23505", attempts=2, waiting_since=NOW)
        for number in (1, 2)
    ]
    operations = plan_request(conflicting, MINIMAL_TARGETS)
    assert [operation.is_placeholder for operation in operations] == [True, False]
    answer = ApplyResult(
        {RowPosition(0, 0): STRUCTURAL}, frozenset([RowPosition(0, 1), RowPosition(1, 1)])
    )
    assert reader.read_result(operations, answer) == [Applied(conflicting[0], NOW)]


@pytest.mark.parametrize(
    ("failure", "state", "awaits_parent"),
    [
        (BUSY, EntityState.PENDING, False),
        (REJECTED, EntityState.DEAD, False),
        (RowFailure(RowFailureKind.MISSING_REFERENCE, "23503", "m"), EntityState.PENDING, True),
    ],
)
def test_row_that_failed_is_retried_or_dead(
    reader: OutcomeReader, failure: RowFailure, state: EntityState, awaits_parent: bool
) -> None:
    (failed,) = fail_all(reader, user(1), failure=failure)
    assert (failed.code, failed.message) == (failure.code, failure.message)
    assert (failed.decision.state, failed.decision.attempts) == (state, 1)
    assert failed.decision.awaits_parent is awaits_parent
    assert failed.decision.due_at == after(NOW, 0.5)


@pytest.mark.parametrize(
    ("field", "parent"),
    [("trip_id", (Kind.TRIP, make_id(2))), ("user_id", (Kind.USER, make_id(1))), (None, None)],
)
def test_missing_reference_names_the_parent(
    reader: OutcomeReader, field: str | None, parent: tuple[Kind, str] | None
) -> None:
    failure = RowFailure(RowFailureKind.MISSING_REFERENCE, "23503", "m", field)
    (failed,) = fail_all(reader, make_entity(Kind.MEMBERSHIP, 1, parent=2), failure=failure)
    assert failed.missing_parent == parent


# A table, or a row


def test_single_failing_row_never_holds_its_table(reader: OutcomeReader) -> None:
    entity = user(1)
    for _ in range(50):
        (failed,) = fail_all(reader, entity)
        assert failed.decision.state is EntityState.PENDING
        assert reader.evidence.held == {}
        entity = record(failed)
    assert entity.attempts == 0


@pytest.mark.parametrize("together", [True, False])
def test_two_failing_rows_without_success_hold_their_table(
    reader: OutcomeReader, caplog: pytest.LogCaptureFixture, together: bool
) -> None:
    with caplog.at_level(logging.ERROR):
        if together:
            fail_all(reader, user(1), user(2))
        else:
            fail_all(reader, user(1))
            fail_all(reader, user(2))
        fail_all(reader, user(3))
    assert reader.evidence.held == {WRITES: STRUCTURAL}
    # Logged once.
    assert [(each.levelname, "public.users" in each.message) for each in caplog.records] == [
        ("ERROR", True)
    ]


@pytest.mark.parametrize("is_applied", [True, False])
def test_end_of_a_hold_is_logged(
    reader: OutcomeReader, clock: Clock, caplog: pytest.LogCaptureFixture, *, is_applied: bool
) -> None:
    caplog.set_level(logging.INFO, logger="app.relay.outcomes")
    fail_all(reader, user(1), user(2))
    clock.advance(REMINDER_SECONDS)
    fail_all(reader, user(1))
    if is_applied:
        apply(reader, user(2))
    else:
        reader.end_trial(WRITES)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "writes of public.users are held because every row fails: 42501 no privilege"),
        (
            "ERROR",
            "writes of public.users are held because every row fails: 42501 no privilege"
            " (for 5 minutes)",
        ),
        ("INFO", "writes of public.users are no longer held"),
    ]


def test_writes_and_deletes_of_a_table_are_held_apart(reader: OutcomeReader) -> None:
    fail_all(reader, user(1), user(2, is_removed=True))
    assert reader.evidence.held == {}
    fail_all(reader, user(3, is_removed=True))
    assert reader.evidence.held == {DELETES: STRUCTURAL}
    apply(reader, user(4))
    assert reader.evidence.held == {DELETES: STRUCTURAL}


def test_failures_of_other_kinds_hold_nothing(reader: OutcomeReader) -> None:
    for failure in (BUSY, REJECTED):
        fail_all(reader, user(1), user(2), failure=failure)
    assert reader.evidence.held == {}


def test_attempts_are_not_counted_while_a_table_is_suspected(reader: OutcomeReader) -> None:
    entities = [user(1), user(2)]
    for _ in range(30):
        failed = fail_all(reader, *entities)
        assert {each.decision.state for each in failed} == {EntityState.PENDING}
        entities = [record(each) for each in failed]
    assert {entity.attempts for entity in entities} == {0}
    assert {entity.waiting_since for entity in entities} == {NOW}


def test_attempts_with_another_code_start_over(reader: OutcomeReader) -> None:
    entity = replace(user(1), last_error_code="23505", attempts=9, waiting_since=Instant(0))
    (failed,) = fail_all(reader, entity)
    apply(reader, user(2))
    (failed,) = fail_all(reader, record(failed))
    assert (failed.decision.attempts, failed.decision.waiting_since) == (1, NOW)


def test_row_failing_beside_a_success_fails_by_itself(reader: OutcomeReader) -> None:
    outcomes = apply(reader, user(1), user(2), failures={user(1): STRUCTURAL})
    failed = outcomes[make_id(1)]
    assert isinstance(failed, Failed)
    assert failed.decision.attempts == 1
    assert reader.evidence.held == {}


@pytest.mark.parametrize("is_update_failing", [True, False])
def test_success_of_another_operation_on_the_table_is_evidence_too(
    reader: OutcomeReader, is_update_failing: bool
) -> None:
    updated = [make_entity(Kind.TRIP, number) for number in (1, 2)]
    upserted = [make_entity(Kind.TRIP, number, startDate="x", endDate="y") for number in (3, 4)]
    failing = updated if is_update_failing else upserted
    failures = dict.fromkeys(failing, STRUCTURAL)
    outcomes = apply(reader, *updated, *upserted, failures=failures, targets=FITTED)
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
    assert [each.decision.attempts for each in failed] == [1, 1]
    assert reader.evidence.held == {}


def test_success_releases_the_table_and_counts_attempts_of_its_suspects(
    reader: OutcomeReader,
) -> None:
    entities = [record(each) for each in fail_all(reader, user(1), user(2))]
    apply(reader, user(3))
    assert reader.evidence.held == {}
    for attempts in range(1, 11):
        failed = fail_all(reader, *entities)
        assert {each.decision.attempts for each in failed} == {attempts}
        entities = [record(each) for each in failed]
    assert {each.decision.state for each in failed} == {EntityState.DEAD}
    assert reader.evidence.held == {}


def test_row_that_was_tried_is_due_after_the_others_of_its_table(
    reader: OutcomeReader, clock: Clock
) -> None:
    # The next trial uses the row that is due first: another each time.
    due = {
        failed.entity.ref: failed.decision.due_at
        for failed in fail_all(reader, *(user(number) for number in (1, 2, 3)))
    }
    tried = []
    for _ in range(3):
        clock.seconds += 60.0
        assert reader.evidence.begin_trial(clock()) == WRITES
        ref = min(due, key=lambda each: (due[each], each))
        (failed,) = fail_all(reader, user(int(ref.key[-1])))
        assert failed.decision.due_at > max(due.values())
        due[ref] = failed.decision.due_at
        tried.append(ref)
    assert len(set(tried)) == 3


def test_suspected_revocation_waits_in_the_queue_of_retried_revocations(
    reader: OutcomeReader,
) -> None:
    (failed,) = fail_all(reader, make_entity(Kind.MEMBERSHIP, 1, is_removed=True))
    assert failed.decision.priority is Priority.RETRIED_REVOCATION


# A request that failed as a whole

TIMEOUT = RequestFailure(RequestFailureKind.UNAVAILABLE, "57014", "too slow")


def test_request_of_several_is_split_without_an_attempt(reader: OutcomeReader) -> None:
    entities = [user(1), user(2)]
    assert reader.split_or_postpone(entities, TIMEOUT, 1) == [
        Postponed(entity, 1) for entity in entities
    ]


def test_request_of_one_is_postponed_and_never_dies(reader: OutcomeReader) -> None:
    entity = replace(user(1), last_error_code="57014", attempts=99, waiting_since=Instant(0))
    (outcome,) = reader.split_or_postpone([entity], TIMEOUT, 1)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message) == ("57014", "too slow")
    decision = outcome.decision
    assert (decision.state, decision.priority) == (EntityState.PENDING, Priority.ALONE)
    assert (decision.attempts, decision.request_limit) == (100, 1)
    assert decision.due_at == after(NOW, 900.0)
