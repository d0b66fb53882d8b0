"""Outcomes of one request, and whether a failure is the row's, the table's or the request's."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.entities import EntityState, PendingEntity, find_parent
from app.domain.failures import RequestFailure, RowFailure, RowFailureKind
from app.domain.instants import Instant, after
from app.domain.retry import RetryDecision, decide_retry, decide_retry_alone
from app.relay.measurements import Measurements
from app.relay.outcome_log import log_applied, log_failure
from app.relay.table_evidence import TableEvidence
from app.store.dispatch_queries import Held
from app.store.outcome_queries import Applied, Failed, Outcome, Postponed
from app.supabase.client import ApplyResult, RowPosition
from app.supabase.planning import Operation, Verb
from app.supabase.targets import Target

logger = logging.getLogger(__name__)

HELD: Final = "schema-mismatch"
"""The label of `relay_supabase_stops_total` that counts held tables."""


class OutcomeReader:
    """Derives outcomes from the results of requests."""

    def __init__(self, clocks: Clocks, measurements: Measurements) -> None:
        self._clocks = clocks
        self._stops = measurements.stops
        self.evidence = TableEvidence()
        self._held: dict[Held, Degradation] = {}

    def read_result(self, operations: Sequence[Operation], result: ApplyResult) -> list[Outcome]:
        """Return the outcome of each entity whose row was tried."""
        now = self._clocks.now()
        outcomes: list[Outcome] = []
        succeeded: set[Held] = set()
        failures: list[tuple[Target, Held, dict[PendingEntity, RowFailure]]] = []
        for number, operation in enumerate(operations):
            if operation.is_placeholder:
                continue
            applied, failed = _divide(operation, number, result)
            outcomes += [Applied(entity, now) for entity in applied]
            place = Held(operation.target.kind, operation.verb is Verb.DELETE)
            if applied:
                succeeded.add(place)
                self.evidence.record_successes(place, (entity.ref for entity in applied))
                self._end_hold(place)
                log_applied(applied, now)
            failures.append((operation.target, place, failed))
        # Upserts and updates of one table are two operations but share their evidence.
        for target, place, failed in failures:
            structural = [
                entity
                for entity, failure in failed.items()
                if failure.kind is RowFailureKind.STRUCTURAL
            ]
            if place in succeeded:
                # Remembered for retries, which share no request with other rows.
                self.evidence.record_own_failures(entity.ref for entity in structural)
            suspects = {
                entity: failed[entity]
                for entity in structural
                if not self.evidence.is_own_failure(entity.ref)
            }
            if suspects:
                outcomes += self._suspect_table(target, place, suspects, now)
            outcomes += [
                self._decide(entity, failure, now)
                for entity, failure in failed.items()
                if entity not in suspects
            ]
        return outcomes

    def split_or_postpone(
        self, entities: Sequence[PendingEntity], failure: RequestFailure, pieces: int
    ) -> list[Outcome]:
        """Return the outcomes of a request that failed although Supabase is available.

        The next requests of these entities hold at most `pieces` of them.
        """
        if len(entities) > 1:
            logger.warning(
                "a request of %d entities failed; splitting it: %s %s",
                len(entities),
                failure.code,
                failure.message,
            )
            return [Postponed(entity, pieces) for entity in entities]
        (entity,) = entities
        now = self._clocks.now()
        decision = decide_retry_alone(entity, failure, now, self._clocks.jitter())
        log_failure(entity, failure.code, failure.message, decision)
        return [Failed(entity, failure.code, failure.message, decision)]

    def end_trial(self, place: Held) -> None:
        """Release a place that has no row left to try."""
        self.evidence.end_trial(place)
        self._end_hold(place)

    def _end_hold(self, place: Held) -> None:
        hold = self._held.pop(place, None)
        if hold is not None:
            hold.end()

    def _decide(self, entity: PendingEntity, failure: RowFailure, now: Instant) -> Failed:
        decision = decide_retry(entity, failure, now, self._clocks.jitter())
        log_failure(entity, failure.code, failure.message, decision)
        is_missing = failure.kind is RowFailureKind.MISSING_REFERENCE
        parent = find_parent(entity, failure.field) if is_missing else None
        return Failed(entity, failure.code, failure.message, decision, parent)

    def _suspect_table(
        self,
        target: Target,
        place: Held,
        suspects: Mapping[PendingEntity, RowFailure],
        now: Instant,
    ) -> list[Outcome]:
        """Postpone rows whose table may be misconfigured, without counting an attempt."""
        was_held = place in self.evidence.held
        failure = list(suspects.values())[-1]
        seconds = self.evidence.record_failures(
            place,
            [entity.ref for entity in suspects],
            failure,
            self._clocks.monotonic(),
            self._clocks.jitter(),
        )
        if place in self.evidence.held:
            if not was_held:
                self._stops.labels(HELD).inc()
            self._note_hold(target, place, failure)
        return [
            Failed(entity, each.code, each.message, _postpone(entity, each, now, seconds))
            for entity, each in suspects.items()
        ]

    def _note_hold(self, target: Target, place: Held, failure: RowFailure) -> None:
        subject = f"{'deletes' if place.is_delete else 'writes'} of {target.qualified_name}"
        hold = self._held.get(place)
        if hold is None:
            recovery = f"{subject} are no longer held"
            hold = Degradation(logger, recovery, monotonic=self._clocks.monotonic)
            self._held[place] = hold
        hold.note(
            f"{subject} are held because every row fails: {failure.code} {failure.message}",
            cause=failure.code,
            level=logging.ERROR,
        )


def _postpone(
    entity: PendingEntity, failure: RowFailure, now: Instant, seconds: float
) -> RetryDecision:
    """Postpone an entity without counting an attempt; another code resets its attempts."""
    is_same = entity.last_error_code == failure.code
    return RetryDecision(
        EntityState.PENDING,
        entity.retry_priority,
        entity.attempts if is_same else 0,
        after(now, seconds),
        awaits_parent=False,
        waiting_since=(entity.waiting_since if is_same else None) or now,
        request_limit=entity.request_limit,
    )


def _divide(
    operation: Operation, number: int, result: ApplyResult
) -> tuple[list[PendingEntity], dict[PendingEntity, RowFailure]]:
    """Return the entities that were applied, and those that failed."""
    if not result.failures and not result.not_tried:
        return list(operation.entities), {}
    applied: list[PendingEntity] = []
    failed: dict[PendingEntity, RowFailure] = {}
    for row, entity in enumerate(operation.entities):
        place = RowPosition(number, row)
        if place in result.failures:
            failed[entity] = result.failures[place]
        elif place not in result.not_tried:
            applied.append(entity)
    return applied, failed
