"""Dispatching: apply pending entities to Supabase, until it matches the desired state.

One request after the other: claim a batch, apply it, record the outcomes, repeat. Every request is
fenced, so a late request changes nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.failpoints import Failpoint, FailpointHook, noop
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.retry import backoff_seconds
from app.relay.batch_traces import BatchTraces
from app.relay.circuit_breaker import CircuitBreaker
from app.relay.claim_policy import ClaimPolicy
from app.relay.dispatcher_status import DispatcherStatus
from app.relay.fence import Fence, R
from app.relay.held_tables import describe_held, list_held_rows
from app.relay.leadership import Leadership
from app.relay.measurements import Measurements
from app.relay.outcome_notifier import OutcomeNotifier
from app.relay.outcomes import OutcomeReader
from app.relay.pending_queue import STORE_RETRY_SECONDS, PendingQueue
from app.store.dispatch_queries import Batch
from app.store.outcome_queries import Outcome
from app.store.store import Store
from app.supabase.client import ApplyResult, SupabaseClient
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS, Inactive, Targets

logger = logging.getLogger(__name__)

# How often an idle relay probes Supabase, so that /health is true.
PROBE_SECONDS: Final = 30.0
_STANDBY_SECONDS: Final = 0.5
_MINIMUM_WAIT_SECONDS: Final = 0.02
_OUT_OF_TIME: Final = RequestFailure(
    RequestFailureKind.UNAVAILABLE, "time budget", "used up before any row was tried"
)
_NOT_DISPATCHING: Final = RequestFailure(
    RequestFailureKind.UNAVAILABLE, "dispatcher", "Supabase or the store is unavailable"
)


class Dispatcher:
    """The only writer to Supabase.

    If replicas share the store, only the leader dispatches. It checks its lease before a request,
    the store in each transaction that records outcomes. After a longer pause, a request is stale.
    """

    def __init__(
        self,
        store: Store,
        supabase: SupabaseClient,
        notifier: OutcomeNotifier,
        *,
        clocks: Clocks,
        targets: Targets = MINIMAL_TARGETS,
        hit: FailpointHook = noop,
        measurements: Measurements | None = None,
        traces: BatchTraces | None = None,
        closes_accounts: bool = False,
    ) -> None:
        self._clocks = clocks
        self._targets = targets
        self._hit = hit
        measurements = measurements or Measurements()
        self._leadership: Leadership | None = None
        # The lease under which the current batches are claimed, applied and recorded.
        self._token: int | None = None
        self._fence = Fence(supabase, traces, require_lease=self._require_lease, clocks=clocks)
        self._breaker = CircuitBreaker(clocks, measurements)
        # A failed batch, until a probe decides whether all of Supabase is unavailable.
        self._failed_batch: tuple[Batch, RequestFailure] | None = None
        self._outcomes = OutcomeReader(clocks, measurements)
        self._evidence = self._outcomes.evidence
        deletes_inactive = targets.memberships.inactive is Inactive.REMOVE
        self._policy = ClaimPolicy(self._evidence, deletes_inactive=deletes_inactive)
        self._queue = PendingQueue(
            store, notifier, measurements, clocks, traces, closes_accounts=closes_accounts
        )
        self._crash: str | None = None
        self._crashes = 0
        self._crash_log = Degradation(logger, "the dispatcher no longer crashes")
        # Held from a request until its outcomes are recorded.
        self._between_requests = asyncio.Lock()
        self._signal = asyncio.Event()
        self._is_stopping = False

    def require_leadership(self, leadership: Leadership) -> None:
        """Dispatch only while this replica is the leader."""
        self._leadership = leadership

    @property
    def status(self) -> DispatcherStatus:
        """The status, for monitoring."""
        return DispatcherStatus(
            crash=self._crash,
            failure=self._breaker.failure,
            failing_since=self._breaker.opened_at,
            next_probe_at=self._breaker.next_probe_at,
            has_contact=self._fence.contact_at is not None,
            held=tuple(describe_held(self._evidence, self._targets)),
            held_rows=tuple(list_held_rows(self._evidence, self._targets, self._clocks)),
            has_rival=self._fence.has_rival,
            is_fence_busy=self._fence.is_busy,
            unrecorded=self._queue.unrecorded_count if self._queue.is_failing else 0,
        )

    def wake(self) -> None:
        """Look for due entities now."""
        self._signal.set()

    def stop(self) -> None:
        """Finish the current request and start no other."""
        self._is_stopping = True
        self._signal.set()

    async def run(self) -> None:
        """Dispatch until stopped. After a crash, which is logged and shown, start again."""
        while not self._is_stopping:
            try:
                await self._run_once()
                self._crash, self._crashes = None, 0
                self._crash_log.end()
            except StoreUnavailable:
                self._queue.note_store_failure()
                await self._sleep(STORE_RETRY_SECONDS, is_wakeable=False)
            except Exception as error:  # noqa: BLE001 - logged with its traceback
                self._crashes += 1
                self._crash = type(error).__name__
                self._crash_log.note(
                    "the dispatcher crashed and starts again",
                    cause=self._crash,
                    level=logging.ERROR,
                    error=error,
                )
                await self._sleep(backoff_seconds(self._crashes, self._clocks.jitter()))

    async def _run_once(self) -> None:
        self._signal.clear()
        if self._leadership is not None and not self._leadership.is_held:
            await self._sleep(_STANDBY_SECONDS)
            return
        wait_seconds = self._breaker.seconds_to_wait()
        if wait_seconds > 0:
            # Supabase is unavailable or asked for a pause: new events do not change that.
            await self._sleep(wait_seconds, is_wakeable=False)
            return
        if not await self.dispatch_due():
            await self._idle()

    async def dispatch_due(self) -> bool:
        """Apply what is due, request after request; return False if there was nothing to do."""
        if self._breaker.seconds_to_wait() > 0:
            return False
        try:
            async with self._between_requests:
                self._begin_lease()
                outcomes: list[Outcome] = []
                if self._breaker.is_open:
                    if not await self._probe():
                        return True
                    outcomes = self._attribute_failure()
                batch = await self._record_and_claim(outcomes)
            if batch is None:
                return bool(outcomes)
            while batch is not None:
                async with self._between_requests:
                    outcomes = await self._apply(batch)
                    batch = await self._record_and_claim(outcomes)
            return True
        except LeaseLost:
            # The new leader applies what is not recorded; late requests of this one are stale.
            self._queue.discard_outcomes()
            self._failed_batch = None
            logger.warning("the lease was lost: another replica dispatches")
            return False

    async def read_between_requests(
        self, query: Callable[[], Awaitable[R | RequestFailure]]
    ) -> R | RequestFailure:
        """Run a query while no request is in flight and every outcome is recorded.

        A request waits for one query at most.

        Raises:
            LeaseLost: this replica is not the leader.
        """
        async with self._between_requests:
            self._begin_lease()
            if self._breaker.is_open or self._queue.unrecorded_count:
                return _NOT_DISPATCHING
            return await self._fence.read(query)

    async def _record_and_claim(self, outcomes: Sequence[Outcome]) -> Batch | None:
        wanted = None
        if not self._is_stopping and not self._breaker.is_open:
            wanted = self._policy.choose(self._clocks.monotonic())
        batch = await self._queue.record_and_claim(outcomes, wanted, token=self._require_lease())
        trial = None if wanted is None else wanted.trial
        if batch is None and trial is not None and not self._queue.is_failing:
            self._outcomes.end_trial(trial)
        return batch

    async def _apply(self, batch: Batch) -> list[Outcome]:
        """Send one request; return the outcomes of its entities, none if they are unknown."""
        budget_ms = self._policy.begin_batch(batch)
        operations = plan_request(batch.entities, self._targets)
        self._hit(Failpoint.BEFORE_WRITE)
        result = await self._fence.send(operations, budget_ms=budget_ms)
        self._hit(Failpoint.AFTER_WRITE)
        match result:
            case ApplyResult():
                outcomes = self._outcomes.read_result(operations, result)
                if not outcomes and len(batch.entities) > 1:
                    # The set-based attempt used up all the time and failed: it would do so again.
                    self._failed_batch = (batch, _OUT_OF_TIME)
                    return self._attribute_failure()
                self._policy.record_success(batch)
                return outcomes
            case RequestFailure(kind=RequestFailureKind.STALE | RequestFailureKind.BUSY):
                return []
            case RequestFailure() if not self._fence.is_claimed:  # the batch was never sent
                self._breaker.open(result)
                return []
            case RequestFailure():
                self._failed_batch = (batch, result)
                if result.retry_after_seconds is not None:
                    self._breaker.open(result)
                elif not self._is_stopping and await self._probe():
                    return self._attribute_failure()
                return []

    async def _probe(self) -> bool:
        """Probe Supabase, and open or close the circuit breaker; return whether it is available."""
        failure = await self._fence.probe()
        if failure is None:
            self._breaker.close()
            return True
        self._failed_batch = None
        self._breaker.open(failure)
        return False

    def _attribute_failure(self) -> list[Outcome]:
        """Supabase is available, so a failed request failed by itself: split or postpone it."""
        if self._failed_batch is None:
            return []
        (batch, failure), self._failed_batch = self._failed_batch, None
        pieces = self._policy.record_failure(batch)
        return self._outcomes.split_or_postpone(batch.entities, failure, pieces)

    def _begin_lease(self) -> None:
        """Dispatch under the current lease; a new lease claims the fence again."""
        token = None if self._leadership is None else self._leadership.require()
        if token != self._token:
            self._token = token
            self._fence.drop()

    def _require_lease(self) -> int | None:
        """Return the token of the lease; None if no other replica can dispatch.

        Raises:
            LeaseLost: this replica is no longer the leader.
        """
        return None if self._leadership is None else self._leadership.require(self._token)

    async def _idle(self) -> None:
        now = self._clocks.monotonic()
        contact_at = self._fence.contact_at
        if contact_at is None or now - contact_at >= PROBE_SECONDS:
            with contextlib.suppress(LeaseLost):
                async with self._between_requests:
                    self._begin_lease()
                    await self._probe()
            return
        waits = [
            PROBE_SECONDS,
            await self._queue.seconds_until_due(are_tables_held=bool(self._evidence.held)),
            self._evidence.seconds_until_trial(now),
            None if self._leadership is None else self._leadership.poll_seconds,
        ]
        seconds = min(wait for wait in waits if wait is not None)
        await self._sleep(max(_MINIMUM_WAIT_SECONDS, seconds))

    async def _sleep(self, seconds: float, *, is_wakeable: bool = True) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._signal.wait()
                    if is_wakeable or self._is_stopping:
                        return
                    self._signal.clear()
