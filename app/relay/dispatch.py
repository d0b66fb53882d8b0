"""Dispatching: what is pending moves to Supabase, until Supabase holds what is desired."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from app.domain.entities import EntityRef, EntityState, Kind, PendingEntity
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.failpoints import Failpoint, Reach, ignore
from app.domain.failures import Failure, FailureKind
from app.domain.instants import Instant, after, from_seconds, seconds_between
from app.domain.retry import Breaker, BreakerState, Jitter, backoff_seconds, judge_refusal
from app.relay.contested import settle_contested
from app.relay.dispatcher_view import DispatcherView
from app.relay.leadership import Leadership
from app.relay.measurements import Measurements
from app.relay.settlements import Settlements
from app.store.dispatching import Applied, Outcome, Refused
from app.store.store import Store
from app.supabase.client import SupabaseClient
from app.supabase.planning import Write, plan_batch
from app.supabase.targets import MINIMAL_TARGETS, Targets

logger = logging.getLogger(__name__)

# One bulk request of each kind; a fresh removal waits for no more than these to be written.
BATCH_ENTITIES: Final = 500
# Those that are tried again with one that is refused a value; more are rarer than an attack.
CONTESTED_ENTITIES: Final = 100
# How long after it was sent a request may land whose answer never came: past any timeout on the
# way, ours included. Nothing over HTTP can call it back.
IN_FLIGHT_SECONDS: Final = 60.0
# How often an idle relay looks whether Supabase is there, for /health to be true.
PROBE_SECONDS: Final = 30.0
# How often a replica that does not lead looks whether it does.
_STANDBY_SECONDS: Final = 0.5


class _Stopped(Exception):
    """No entity would fare better: the rest of the batch waits."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class Dispatcher:
    """The one writer to Supabase.

    Where several relays share a store, the one that holds the lease. It makes sure before every
    request, and everything that it records is checked against the lease in its transaction. What a
    process that was paused for longer than the lease may have sent all the same is written again.
    """

    def __init__(
        self,
        store: Store,
        supabase: SupabaseClient,
        settlements: Settlements,
        *,
        clock: Callable[[], float],
        jitter: Jitter,
        targets: Targets = MINIMAL_TARGETS,
        reach: Reach = ignore,
        measurements: Measurements | None = None,
        in_flight_seconds: float = IN_FLIGHT_SECONDS,
    ) -> None:
        self._store = store
        self._supabase = supabase
        self._settlements = settlements
        self._clock = clock
        self._jitter = jitter
        self._targets = targets
        self._reach = reach
        self._measurements = measurements or Measurements()
        self._in_flight_seconds = in_flight_seconds
        self._flights_seen_at: Instant | None = None
        self._breaker = Breaker()
        self._signal = asyncio.Event()
        self._stopping = False
        self._crash: str | None = None
        self._contact_at: Instant | None = None
        self._leadership: Leadership | None = None
        # Of the lease under which the batch was begun.
        self._token: int | None = None
        # What the batch has sent, and what was sent when the lease may have been lost.
        self._sent: set[EntityRef] = set()
        self._doubtful: set[EntityRef] = set()

    def share(self, leadership: Leadership) -> None:
        """Dispatch only while this replica leads."""
        self._leadership = leadership

    @property
    def view(self) -> DispatcherView:
        """How it fares."""
        return DispatcherView(
            crash=self._crash,
            breaker=self._breaker.state,
            failure=self._breaker.last_failure,
            has_contact=self._contact_at is not None,
        )

    def wake(self) -> None:
        """Something may be due."""
        self._signal.set()

    def stop(self) -> None:
        """Finish the open batch and no other."""
        self._stopping = True
        self._signal.set()

    async def run(self) -> None:
        """Dispatch until stopped. A crash is logged, shown and followed by another run."""
        crashes = 0
        while not self._stopping:
            try:
                await self._run_once()
                crashes, self._crash = 0, None
            except Exception as error:
                crashes += 1
                self._crash = type(error).__name__
                logger.exception("the dispatcher crashed and starts again")
                await self._sleep(backoff_seconds(crashes, self._jitter()))

    async def _run_once(self) -> None:
        self._signal.clear()
        await self.make_good()
        if self._leadership is not None and not self._leadership.is_held:
            await self._sleep(_STANDBY_SECONDS)
            return
        wait = self._breaker.seconds_to_wait(self._now())
        if wait > 0:
            await self._sleep(wait, wakeable=False)
        elif not await self.dispatch_due():
            await self._idle()

    async def dispatch_due(self) -> bool:
        """Dispatch one batch of what is due; False when nothing is.

        Every entity of the batch is recorded as applied or refused, or is left as it was.
        """
        self._sent.clear()
        self._token = None
        try:
            self._token = self._require_lease()
            return await self._dispatch_batch()
        except LeaseLost:
            self._doubtful |= self._sent
            logger.warning(
                "the lease was lost: %d entities are left to whoever dispatches", len(self._sent)
            )
            return False

    async def _dispatch_batch(self) -> bool:
        await self._end_flights()
        # While the breaker is open, one entity is the probe.
        limit = 1 if self._breaker.state is BreakerState.OPEN else BATCH_ENTITIES
        entities = await self._store.pick_pending(self._now(), limit)
        if not entities:
            return False
        until = after(self._now(), self._in_flight_seconds)
        await self._store.note_in_flight(entities, until, token=self._require_lease())
        outcomes: list[Outcome] = []
        uncertain: set[EntityRef] = {entity.ref for entity in entities}
        plan = plan_batch(entities, self._targets)
        try:
            while plan:
                await self._dispatch(plan.pop(0), outcomes)
            uncertain = set()
        except _Stopped as stopped:
            self._note_failure(stopped.failure)
            uncertain -= {entity.ref for write in plan for entity in write.entities}
            uncertain -= {outcome.entity.ref for outcome in outcomes}
            if stopped.failure.kind is not FailureKind.OUTAGE:
                # It has said that it did nothing.
                uncertain = set()
        finally:
            # What Supabase has taken is recorded whatever ended the batch.
            if outcomes:
                token = self._require_lease()
                await self._store.record_outcomes(outcomes, self._now(), token=token)
                self._measurements.count_outcomes(outcomes, self._now())
                self._settlements.announce(outcome.entity.ref for outcome in outcomes)
        certain = [entity for entity in entities if entity.ref not in uncertain]
        await self._store.forget_in_flight(certain, until, token=self._require_lease())
        return True

    async def _dispatch(self, write: Write, outcomes: list[Outcome]) -> None:
        contested: list[tuple[PendingEntity, Failure]] = []
        await self._apply(write, outcomes, contested)
        if contested:
            await self._settle(write.kind, contested, outcomes)

    async def _end_flights(self) -> None:
        """Look once a second whether a request that was never answered can no longer land."""
        now = self._now()
        if self._flights_seen_at is None or seconds_between(self._flights_seen_at, now) >= 1.0:
            self._flights_seen_at = now
            await self._store.end_flights(now, token=self._require_lease())

    async def _apply(
        self,
        write: Write,
        outcomes: list[Outcome],
        contested: list[tuple[PendingEntity, Failure]],
    ) -> None:
        failure = await self._write(write)
        if failure is None:
            outcomes.extend(Applied(entity) for entity in write.entities)
        elif pieces := write.break_up(failure):
            # Until the culprit is alone: one bad entity never holds up another.
            for piece in pieces:
                await self._apply(piece, outcomes, contested)
                self._reach(Failpoint.IN_SPLIT)
        elif failure.kind is FailureKind.CONTESTED:
            contested.append((write.entities[0], failure))
        else:
            outcomes.append(self._judge(write.entities[0], failure))

    async def _settle(
        self, kind: Kind, contested: list[tuple[PendingEntity, Failure]], outcomes: list[Outcome]
    ) -> None:
        # Whoever holds the value may have been refused in an earlier batch, and wait.
        known = {entity.ref for entity, _ in contested}
        partners = await self._store.pick_contested(kind, CONTESTED_ENTITIES)
        others = [entity for entity in partners if entity.ref not in known]
        # They are not of this batch, so their note stays: they are written once more.
        until = after(self._now(), self._in_flight_seconds)
        await self._store.note_in_flight(others, until, token=self._require_lease())
        together = [entity for entity, _ in contested] + others

        async def write_alone(entity: PendingEntity) -> Failure | None:
            (write,) = plan_batch([entity], self._targets)
            failure = await self._write(write)
            for update in write.break_up(failure) if failure is not None else ():
                failure = await self._write(update)
            return failure

        applied: list[PendingEntity] = []
        refused = contested
        if len(together) > 1:
            applied, refused = await settle_contested(together, write_alone)
        outcomes.extend(Applied(entity) for entity in applied)
        outcomes.extend(self._judge(entity, failure) for entity, failure in refused)

    async def _write(self, write: Write) -> Failure | None:
        self._reach(Failpoint.BEFORE_WRITE)
        self._sent.update(entity.ref for entity in write.entities)
        # The last thing before the request: a pause that comes later is made good.
        self._require_lease()
        failure = await self._supabase.apply(write)
        self._reach(Failpoint.AFTER_WRITE)
        if failure is not None and failure.stops_everything:
            raise _Stopped(failure)
        self._note_answer()
        return failure

    def _require_lease(self) -> int | None:
        """Give the token to record under; None where nobody else could dispatch.

        Raises:
            LeaseLost: this replica does not lead any more.
        """
        return None if self._leadership is None else self._leadership.require(self._token)

    async def make_good(self) -> None:
        """Have written again what was sent when the lease may have been lost."""
        if not self._doubtful:
            return
        refs = sorted(self._doubtful)
        now = self._now()
        with contextlib.suppress(StoreUnavailable):
            await self._store.write_again(refs, now, after(now, self._in_flight_seconds))
            self._doubtful.difference_update(refs)

    def _judge(self, entity: PendingEntity, failure: Failure) -> Refused:
        verdict = judge_refusal(entity, failure, self._now(), self._jitter())
        is_dead = verdict.state is EntityState.DEAD
        logger.log(
            logging.ERROR if is_dead else logging.INFO,
            "%s %s is %s: %s %s",
            entity.ref.kind,
            entity.ref.key,
            "dead" if is_dead else "refused and tried again",
            failure.code,
            failure.message,
        )
        return Refused(entity, failure, verdict)

    async def _idle(self) -> None:
        now = self._now()
        if self._contact_at is None or seconds_between(self._contact_at, now) >= PROBE_SECONDS:
            failure = await self._supabase.probe()
            if failure is None or not failure.stops_everything:
                self._note_answer()
            else:
                self._note_failure(failure)
            return
        next_due = await self._store.read_next_due()
        wait = PROBE_SECONDS
        if next_due is not None:
            # Nothing was due just now: what says otherwise is a moment from being so.
            wait = min(wait, max(0.05, seconds_between(now, next_due)))
        if self._leadership is not None:
            wait = min(wait, self._leadership.poll_seconds)
        await self._sleep(wait)

    async def _sleep(self, seconds: float, *, wakeable: bool = True) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._signal.wait()
                    if wakeable or self._stopping:
                        return
                    # Supabase asked to be left alone; news does not change that.
                    self._signal.clear()

    def _note_answer(self) -> None:
        if self._breaker.last_failure is not None:
            logger.warning("Supabase answers again")
        self._contact_at = self._now()
        self._breaker.record_success()

    def _note_failure(self, failure: Failure) -> None:
        if self._breaker.last_failure is None or self._breaker.last_failure.code != failure.code:
            logger.warning(
                "Supabase takes nothing (%s): %s %s", failure.kind, failure.code, failure.message
            )
        self._measurements.stops.labels(failure.kind.value).inc()
        self._contact_at = self._now()
        self._breaker.record_failure(failure, self._now(), self._jitter())

    def _now(self) -> Instant:
        return from_seconds(self._clock())
