"""Dispatching: what is pending moves to Supabase, until Supabase holds what is desired.

One request after the other: claim a batch, apply it, record what became of it, and claim the next
in the same transaction. Every request is fenced, so one that arrives late changes nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from app.domain.entities import EntityState, Priority
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.instants import Instant, from_seconds, seconds_between
from app.domain.retry import Jitter, backoff_seconds
from app.relay.circuit_breaker import CircuitBreaker
from app.relay.dispatcher_status import DispatcherStatus, HeldTable
from app.relay.fence import Fence
from app.relay.leadership import Leadership
from app.relay.measurements import Measurements
from app.relay.outcome_notifier import OutcomeNotifier
from app.relay.outcomes import OutcomeReader
from app.relay.request_limit import RequestLimit
from app.store.dispatch_queries import Applied, Batch, Failed, Outcome, Postponed, Wanted
from app.store.store import Store
from app.supabase.client import Answer, SupabaseClient
from app.supabase.planning import Operation, plan_request
from app.supabase.targets import MINIMAL_TARGETS, Inactive, Targets

logger = logging.getLogger(__name__)

# A fresh revocation waits for one request at most.
REQUEST_ENTITIES: Final = 500
BUDGET_MS: Final = 3000
# Rows that failed before may each wait for a lock again.
RETRY_ENTITIES: Final = 50
RETRY_BUDGET_MS: Final = 1000
# How often an idle relay asks whether Supabase answers, for /health to be true.
PROBE_SECONDS: Final = 30.0
# How often the schedule is read while something is pending: the wall clock may step.
_SCHEDULE_SECONDS: Final = 1.0
_MOMENT_SECONDS: Final = 0.02
# The same while something is due and cannot be claimed.
_BLOCKED_SECONDS: Final = 0.25
# How long recording may take before it counts as failed.
_RECORD_SECONDS: Final = 5.0
_STORE_RETRY_SECONDS: Final = 1.0
# How often a replica that is not the leader looks whether it is.
_STANDBY_SECONDS: Final = 0.5
_FENCE_BUSY_SECONDS: Final = 0.05

_REVOCATIONS: Final = (Priority.REVOCATION, Priority.RETRIED_REVOCATION)
_OUT_OF_TIME: Final = RequestFailure(
    RequestFailureKind.UNAVAILABLE, "time budget", "it was used up before any row was tried"
)
_FRESH_FIRST: Final = tuple(Priority)
# What failed before comes right after the fresh changes of its kind, but never twice in a row
# while anything else is due.
_RETRIES_BETWEEN: Final = (
    Priority.REVOCATION,
    Priority.RETRIED_REVOCATION,
    Priority.WRITE,
    Priority.RETRIED_WRITE,
    Priority.DELETE,
    Priority.RETRIED_DELETE,
    Priority.REPLAYED_REVOCATION,
    Priority.REPLAYED_WRITE,
    Priority.REPLAYED_DELETE,
    Priority.ALONE,
)


class Dispatcher:
    """The one writer to Supabase.

    Where several relays share a store, the one that holds the lease: it makes sure before every
    request, and everything it records is checked against the lease in its transaction. What a
    process that was paused for longer than the lease sends all the same is stale.

    Args:
        store: holds what is pending.
        supabase: calls the functions.
        notifier: told which entities have an outcome.
        clock: Unix seconds.
        monotonic: seconds that only rise.
        jitter: spreads retries.
        targets: the tables.
        hit: named points.
        measurements: counts outcomes.
    """

    def __init__(
        self,
        store: Store,
        supabase: SupabaseClient,
        notifier: OutcomeNotifier,
        *,
        clock: Callable[[], float],
        jitter: Jitter,
        monotonic: Callable[[], float] = time.monotonic,
        targets: Targets = MINIMAL_TARGETS,
        hit: FailpointHook = noop,
        measurements: Measurements | None = None,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._monotonic = monotonic
        self._jitter = jitter
        self._targets = targets
        self._hit = hit
        self._measurements = measurements or Measurements()
        self._leadership: Leadership | None = None
        self._signal = asyncio.Event()
        self._stopping = False

        # Of the lease that was held when the open request was begun.
        self._token: int | None = None
        self._fence = Fence(supabase, require_lease=self._require_lease, monotonic=monotonic)

        self._breaker = CircuitBreaker(
            monotonic=monotonic, jitter=jitter, measurements=self._measurements
        )
        self._contact_at: float | None = None
        # A request that failed, until a probe tells whether all of Supabase did.
        self._unexplained: tuple[Batch, RequestFailure] | None = None
        self._outcomes = OutcomeReader(
            clock=clock, monotonic=monotonic, jitter=jitter, measurements=self._measurements
        )
        self._limits = {
            Priority.REVOCATION: RequestLimit(REQUEST_ENTITIES),
            Priority.WRITE: RequestLimit(REQUEST_ENTITIES),
            Priority.DELETE: RequestLimit(REQUEST_ENTITIES, single_after_failure=True),
            Priority.ALONE: RequestLimit(1),
        }
        self._last_priority: Priority | None = None

        # What could not be recorded yet, as the store cannot commit.
        self._unrecorded: list[Outcome] = []
        self._record_failed_at: float | None = None
        self._schedule_read_at: float | None = None
        self._crash: str | None = None
        self._crashes = 0

    def share(self, leadership: Leadership) -> None:
        """Dispatch only while this replica is the leader."""
        self._leadership = leadership

    @property
    def status(self) -> DispatcherStatus:
        """What monitoring may know."""
        return DispatcherStatus(
            crash=self._crash,
            failure=self._breaker.failure,
            has_contact=self._contact_at is not None,
            held=tuple(
                HeldTable(
                    self._targets[place.kind].qualified_name,
                    "deletes" if place.is_delete else "writes",
                    failure.code,
                    failure.message,
                )
                for place, failure in self._outcomes.evidence.held.items()
            ),
            has_rival=self._fence.has_rival,
            is_fence_busy=self._fence.is_busy,
            unrecorded=len(self._unrecorded) if self._record_failed_at is not None else 0,
        )

    def wake(self) -> None:
        """Something may be due."""
        self._signal.set()

    def stop(self) -> None:
        """Finish the open request and start no other."""
        self._stopping = True
        self._signal.set()

    async def run(self) -> None:
        """Dispatch until stopped. A crash is logged, shown and followed by another run."""
        while not self._stopping:
            try:
                await self._run_once()
                self._note_progress()
            except StoreUnavailable:
                self._note_store_failure()
                await self._sleep(_STORE_RETRY_SECONDS, is_wakeable=False)
            except Exception as error:
                self._crashes += 1
                self._crash = type(error).__name__
                logger.exception("the dispatcher crashed and starts again")
                await self._sleep(backoff_seconds(self._crashes, self._jitter()))

    async def _run_once(self) -> None:
        self._signal.clear()
        if self._leadership is not None and not self._leadership.is_held:
            await self._sleep(_STANDBY_SECONDS)
            return
        wait = self._breaker.seconds_to_wait()
        if wait > 0:
            # Supabase asked to be left alone, or is unavailable: news does not change that.
            await self._sleep(wait, is_wakeable=False)
            return
        await self._correct_skew()
        if not await self.dispatch_due():
            await self._idle()

    # --- one request after the other -----------------------------------------------------------

    async def dispatch_due(self) -> bool:
        """Apply what is due, request after request; False when there was nothing to do.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        if self._breaker.seconds_to_wait() > 0:
            return False
        try:
            self._begin_lease()
            outcomes: list[Outcome] = []
            if self._breaker.is_open:
                if not await self._probe():
                    return True
                outcomes = self._blame_request()
            batch = await self._record_and_claim(outcomes)
            if batch is None:
                return bool(outcomes)
            while batch is not None:
                outcomes = await self._apply(batch)
                await self._correct_skew()
                batch = await self._record_and_claim(outcomes)
            return True
        except LeaseLost:
            # Another leader applies what was not recorded; what was sent late is stale.
            self._unrecorded.clear()
            self._unexplained = None
            logger.warning("the lease was lost: another replica dispatches")
            return False

    async def _apply(self, batch: Batch) -> list[Outcome]:
        """Send one request; give what became of its entities, nothing where that is not known."""
        self._last_priority = batch.priority
        operations = plan_request(batch.entities, self._targets)
        budget_ms = RETRY_BUDGET_MS if batch.priority.is_retry else BUDGET_MS
        self._hit(Failpoint.BEFORE_WRITE)
        answer = await self._send(operations, budget_ms)
        self._hit(Failpoint.AFTER_WRITE)
        match answer:
            case Answer():
                outcomes = self._outcomes.read_answer(operations, answer)
                if not outcomes and len(batch.entities) > 1:
                    # All rows at once took all the time, and then failed: it would do so again.
                    return self._blame(batch, _OUT_OF_TIME)
                self._limit_of(batch.priority).record_success(len(batch.entities))
                return outcomes
            case RequestFailure(kind=RequestFailureKind.STALE | RequestFailureKind.BUSY):
                return []
            case RequestFailure() if not self._fence.is_claimed:
                # It was not sent: the fence could not even be claimed.
                self._breaker.open(answer)
                return []
            case RequestFailure():
                self._unexplained = (batch, answer)
                if answer.retry_after_seconds is not None:
                    self._breaker.open(answer)
                elif await self._probe():
                    return self._blame_request()
                return []

    async def _send(
        self, operations: Sequence[Operation], budget_ms: int
    ) -> Answer | RequestFailure:
        """Send one fenced request; pause where the fence kept it from its work."""
        answer = await self._fence.send(operations, budget_ms=budget_ms)
        match answer:
            case Answer():
                self._contact_at = self._monotonic()
            case RequestFailure(kind=RequestFailureKind.STALE) if self._fence.has_rival:
                # Claiming from each other without a pause, two relays would do no work.
                await self._sleep(backoff_seconds(1, self._jitter()))
            case RequestFailure(kind=RequestFailureKind.BUSY):
                await self._sleep(_FENCE_BUSY_SECONDS, is_wakeable=False)
            case _:
                pass
        return answer

    def _blame_request(self) -> list[Outcome]:
        """Supabase answers: a request that failed did so by itself. Split it, or postpone it."""
        unexplained, self._unexplained = self._unexplained, None
        return [] if unexplained is None else self._blame(*unexplained)

    def _blame(self, batch: Batch, failure: RequestFailure) -> list[Outcome]:
        pieces = self._limit_of(batch.priority).record_failure(len(batch.entities))
        return self._outcomes.blame_request(batch.entities, failure, pieces)

    async def _probe(self) -> bool:
        """Send a request without any row: if it is not answered, that is no row's fault."""
        while not self._stopping:
            answer = await self._send((), BUDGET_MS)
            match answer:
                case Answer() | RequestFailure(kind=RequestFailureKind.BUSY):
                    # Busy, too, is an answer of the database.
                    self._contact_at = self._monotonic()
                    self._breaker.close()
                    return True
                case RequestFailure(kind=RequestFailureKind.STALE):
                    continue
                case RequestFailure():
                    self._unexplained = None
                    self._breaker.open(answer)
                    return False
        return False

    # --- the store -----------------------------------------------------------------------------

    async def _record_and_claim(self, outcomes: Iterable[Outcome]) -> Batch | None:
        """Record what became of the last batch and claim the next, in one transaction.

        While the store cannot commit, revocations are claimed by reading alone.
        """
        self._unrecorded += outcomes
        wanted = self._choose_wanted()
        now = from_seconds(self._clock())
        if not self._unrecorded:
            # Nothing to write: a transaction would queue behind incoming events.
            return None if wanted is None else await self._claim(now, wanted)
        if self._is_store_failing():
            return await self._claim_revocations(now)
        recorded = self._unrecorded
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                batch = await self._store.record_and_claim(
                    now, recorded, wanted, token=self._require_lease()
                )
        except (StoreUnavailable, TimeoutError):
            self._note_store_failure()
            return await self._claim_revocations(now)
        self._unrecorded = []
        self._note_store_recovery()
        self._measurements.count_outcomes(recorded, now)
        self._notifier.publish(outcome.entity.ref for outcome in recorded)
        return batch

    def _choose_wanted(self) -> Wanted | None:
        if self._stopping or self._breaker.is_open:
            return None
        now = self._monotonic()
        is_after_retry = self._last_priority is not None and self._last_priority.is_retry
        return Wanted(
            _FRESH_FIRST if is_after_retry else _RETRIES_BETWEEN,
            {priority: self._choose_limit(priority) for priority in Priority},
            held=frozenset(self._outcomes.evidence.held),
            trial=self._outcomes.evidence.begin_trial(now),
            deletes_inactive=self._targets.memberships.inactive is Inactive.REMOVE,
        )

    def _choose_limit(self, priority: Priority) -> int:
        limit = self._limit_of(priority).value
        return min(limit, RETRY_ENTITIES) if priority.is_retry else limit

    def _limit_of(self, priority: Priority) -> RequestLimit:
        return self._limits[priority.request_kind]

    async def _claim(self, now: Instant, wanted: Wanted) -> Batch | None:
        batch = await self._store.claim(now, wanted)
        self._note_store_recovery()
        if batch is None and wanted.trial is not None:
            self._outcomes.evidence.end_trial(wanted.trial)
        return batch

    async def _claim_revocations(self, now: Instant) -> Batch | None:
        wanted = self._choose_wanted()
        if wanted is None:
            return None
        # What is tried again meanwhile has one outcome, the latest.
        self._unrecorded = list({each.entity.ref: each for each in self._unrecorded}.values())
        excluded = {
            each.entity.ref: each.entity.revision
            for each in self._unrecorded
            if not _is_due(each, now)
        }
        return await self._store.claim(
            now,
            Wanted(
                _REVOCATIONS,
                wanted.limits,
                held=wanted.held,
                deletes_inactive=wanted.deletes_inactive,
                excluded=excluded,
            ),
        )

    def _is_store_failing(self) -> bool:
        failed_at = self._record_failed_at
        return failed_at is not None and self._monotonic() - failed_at < _STORE_RETRY_SECONDS

    def _note_store_failure(self) -> None:
        if self._record_failed_at is None:
            logger.warning("the store is not available; meanwhile only revocations are dispatched")
        self._record_failed_at = self._monotonic()

    def _note_store_recovery(self) -> None:
        if self._record_failed_at is not None:
            logger.info("the store is available again: everything is dispatched")
            self._record_failed_at = None

    async def _correct_skew(self) -> None:
        """Make due what a clock that ran ahead has put off, once a second at most."""
        now = self._monotonic()
        if self._schedule_read_at is None or now - self._schedule_read_at >= _SCHEDULE_SECONDS:
            self._schedule_read_at = now
            instant = from_seconds(self._clock())
            with contextlib.suppress(StoreUnavailable):
                if (await self._store.read_schedule(instant)).is_skewed:
                    count = await self._store.correct_skew(instant)
                    logger.warning("the clock was ahead: %d entities are due now", count)

    # --- lease ---------------------------------------------------------------------------------

    def _begin_lease(self) -> None:
        """Begin under the lease that is held now; under another one the fence is claimed anew."""
        token = None if self._leadership is None else self._leadership.require()
        if token != self._token:
            self._token = token
            self._fence.drop()

    def _require_lease(self) -> int | None:
        """Give the token to record under; None where nobody else could dispatch.

        Raises:
            LeaseLost: this replica is not the leader any more.
        """
        return None if self._leadership is None else self._leadership.require(self._token)

    # --- waiting -------------------------------------------------------------------------------

    async def _idle(self) -> None:
        now = self._monotonic()
        if self._contact_at is None or now - self._contact_at >= PROBE_SECONDS:
            with contextlib.suppress(LeaseLost):
                self._begin_lease()
                await self._probe()
            return
        instant = from_seconds(self._clock())
        next_due_at = (await self._store.read_schedule(instant)).next_due_at
        waits = [PROBE_SECONDS]
        if next_due_at is not None:
            # Nothing could be claimed just now: what is due is held, or not recorded, or was a
            # moment from being due.
            is_blocked = bool(self._unrecorded or self._outcomes.evidence.held)
            least = _BLOCKED_SECONDS if is_blocked else _MOMENT_SECONDS
            waits.append(min(_SCHEDULE_SECONDS, max(least, seconds_between(instant, next_due_at))))
        if (trial := self._outcomes.evidence.seconds_until_trial(now)) is not None:
            waits.append(max(_MOMENT_SECONDS, trial))
        if self._unrecorded:
            waits.append(_STORE_RETRY_SECONDS)
        if self._leadership is not None:
            waits.append(self._leadership.poll_seconds)
        await self._sleep(min(waits))

    async def _sleep(self, seconds: float, *, is_wakeable: bool = True) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._signal.wait()
                    if is_wakeable or self._stopping:
                        return
                    self._signal.clear()

    def _note_progress(self) -> None:
        self._crash, self._crashes = None, 0


def _is_due(outcome: Outcome, now: Instant) -> bool:
    """Tell whether an entity is tried again although its outcome is not recorded."""
    match outcome:
        case Applied():
            return False
        case Failed(decision=decision):
            return decision.state is EntityState.PENDING and decision.due_at <= now
        case Postponed():
            return True
