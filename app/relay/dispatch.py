"""Dispatching: what is pending moves to Supabase, until Supabase holds what is desired."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Final

from app.domain.entities import EntityRef, EntityState, Kind, PendingEntity
from app.domain.errors import LeaseLost, StoreUnavailable
from app.domain.failpoints import Failpoint, Reach, ignore
from app.domain.failures import Failure
from app.domain.instants import Instant, after, from_seconds, seconds_between
from app.domain.retry import Breaker, BreakerState, Jitter, backoff_seconds, judge_refusal
from app.relay.dispatcher_view import DispatcherView
from app.relay.leadership import Leadership
from app.relay.measurements import Measurements
from app.relay.settlements import Settlements
from app.relay.writing import BatchWriter, OpenBatch, Stopped
from app.store.dispatching import Ended, Refused, Wanted
from app.store.store import Store
from app.supabase.client import SupabaseClient
from app.supabase.planning import Write
from app.supabase.targets import MINIMAL_TARGETS, Targets

logger = logging.getLogger(__name__)

# One bulk request of each kind; a fresh removal waits for no more than these to be written.
BATCH_ENTITIES: Final = 500
# Those that are tried again with one that is refused a value; more are rarer than an attack.
CONTESTED_ENTITIES: Final = 100
# How long after it was sent a request may land whose answer never came: past any timeout on the
# way, ours included. Nothing over HTTP can call it back.
IN_FLIGHT_SECONDS: Final = 60.0
# How much longer a note lasts that is made ahead of its turn; later than that it is made anew.
AHEAD_SECONDS: Final = 10.0
# How often an idle relay looks whether Supabase is there, for /health to be true.
PROBE_SECONDS: Final = 30.0
# How often a replica that does not lead looks whether it does.
_STANDBY_SECONDS: Final = 0.5


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
        self._reach = reach
        self._measurements = measurements or Measurements()
        self._in_flight_seconds = in_flight_seconds
        self._writer = BatchWriter(
            targets,
            send=self._send,
            judge=self._judge,
            pick_partners=self._pick_partners,
            reach=reach,
        )
        self._flights_seen_at: Instant | None = None
        self._breaker = Breaker()
        self._signal = asyncio.Event()
        self._stopping = False
        self._crash: str | None = None
        self._crashes = 0
        self._contact_at: Instant | None = None
        self._leadership: Leadership | None = None
        # Of the lease under which the open batches were begun.
        self._token: int | None = None
        # At most the one that is out and the one before it, in their order.
        self._open: list[OpenBatch] = []
        # Records the one before, and makes the next ready.
        self._ahead: asyncio.Task[OpenBatch | None] | None = None
        # What was sent when the lease may have been lost.
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
        while not self._stopping:
            try:
                await self._run_once()
                self._note_progress()
            except Exception as error:
                self._crashes += 1
                self._crash = type(error).__name__
                logger.exception("the dispatcher crashed and starts again")
                await self._sleep(backoff_seconds(self._crashes, self._jitter()))

    async def _run_once(self) -> None:
        self._signal.clear()
        await self.make_good()
        if self._leadership is not None and not self._leadership.is_held:
            await self._sleep(_STANDBY_SECONDS)
            return
        wait = self._breaker.seconds_to_wait(self._now())
        if wait > 0:
            await self._sleep(wait, wakeable=False)
            return
        # Only looked at: a transaction that writes would take its turn among the events.
        next_due = await self._store.read_next_due()
        if next_due is None or next_due > self._now() or not await self.dispatch_due():
            await self._idle(next_due)

    async def dispatch_due(self) -> bool:
        """Dispatch what is due, batch after batch; False when nothing is.

        Every entity of a batch is recorded as applied or refused, or is left as it was.
        """
        self._token = None
        try:
            self._token = self._require_lease()
            return await self._dispatch_batches()
        except LeaseLost:
            sent = {entity.ref for each in self._open for entity in each.sent}
            self._doubtful |= sent
            logger.warning(
                "the lease was lost: %d entities are left to whoever dispatches", len(sent)
            )
            return False
        finally:
            self._open.clear()

    async def _dispatch_batches(self) -> bool:
        batch = await self._turn(limit=self._choose_limit())
        if batch is None:
            return False
        while batch is not None and not self._stopping:
            batch = await self._dispatch(batch)
        if batch is not None:
            await self._turn(let_go=batch)
        return True

    async def _dispatch(self, batch: OpenBatch) -> OpenBatch | None:
        """Write a batch, and give the next; None when nothing is due, or nobody is served.

        Requests go out one after the other. While one is out, the batch before it is recorded, and
        where there is a backlog, the batch after it is made ready.
        """
        if self._open or _is_full(batch):
            self._ahead = asyncio.create_task(self._prepare(batch))
        self._open.append(batch)
        try:
            is_served = await self._write(batch)
        except BaseException:
            # What Supabase has taken is recorded whatever ended the batch.
            await self._turn(let_go=await self._take_prepared())
            raise
        prepared = await self._take_prepared()
        if not is_served or self._stopping:
            await self._turn(let_go=prepared)
            return None
        if prepared is not None and await self._is_next(prepared):
            return prepared
        return await self._turn(let_go=prepared, limit=self._choose_limit())

    async def _write(self, batch: OpenBatch) -> bool:
        try:
            await self._writer.write(batch)
        except Stopped as stopped:
            self._note_failure(stopped.failure)
            return False
        finally:
            batch.is_answered = True
            batch.has_left.set()
        self._note_progress()
        return True

    def _choose_limit(self) -> int:
        # While the breaker is open, one entity is the probe.
        return 1 if self._breaker.state is BreakerState.OPEN else BATCH_ENTITIES

    async def _prepare(self, batch: OpenBatch) -> OpenBatch | None:
        # On one processor, its request would leave 3 ms later: a tenth of what it takes in all.
        await batch.has_left.wait()
        is_backlog = _is_full(batch) and not self._stopping
        return await self._turn(limit=BATCH_ENTITIES if is_backlog else 0, besides=batch)

    async def _take_prepared(self) -> OpenBatch | None:
        task, self._ahead = self._ahead, None
        return None if task is None else await task

    async def _turn(
        self, *, limit: int = 0, besides: OpenBatch | None = None, let_go: OpenBatch | None = None
    ) -> OpenBatch | None:
        """Record what was answered, and begin a batch of at most so many.

        Args:
            limit: of its entities; 0 for none.
            besides: what is out meanwhile.
            let_go: what was made ready and is not to be sent.
        """
        await self._end_flights()
        answered = [each for each in self._open if each.is_answered]
        ended = [each.end() for each in answered]
        if let_go is not None:
            ended.append(Ended(let_go.batch))
        if not (ended or limit):
            return None
        now = self._now()
        seconds = self._in_flight_seconds + (0.0 if besides is None else AHEAD_SECONDS)
        taken = None if besides is None else besides.batch
        wanted = Wanted(limit, after(now, seconds), taken) if limit else None
        token = self._require_lease()
        batch = await self._store.turn(now, ended=ended, wanted=wanted, token=token)
        for each in answered:
            self._open.remove(each)
            self._measurements.count_outcomes(each.outcomes, now)
            self._settlements.announce(outcome.entity.ref for outcome in each.outcomes)
        return None if batch is None else self._writer.open(batch)

    async def _is_next(self, prepared: OpenBatch) -> bool:
        """Tell whether a batch that was made ready is what goes next."""
        now = self._now()
        batch = prepared.batch
        if seconds_between(now, batch.until) < self._in_flight_seconds:
            return False
        if batch.urgent == len(batch.entities):
            return True
        # What takes access away and came meanwhile goes first, whether or not it is in either.
        batches = [batch, *(each.batch for each in self._open)]
        known = {
            (entity.ref, entity.revision)
            for batch in batches
            for entity in batch.entities[: batch.urgent]
        }
        return await self._store.read_urgent(now, len(known) + 1) <= known

    async def _end_flights(self) -> None:
        """Look once a second whether a request that was never answered can no longer land."""
        now = self._now()
        if self._flights_seen_at is None or seconds_between(self._flights_seen_at, now) >= 1.0:
            self._flights_seen_at = now
            out = [each.batch.flight for each in self._open]
            await self._store.end_flights(now, out=out, token=self._require_lease())

    async def _pick_partners(
        self, kind: Kind, contested: Collection[EntityRef]
    ) -> list[PendingEntity]:
        # One of them may be in what was made ready, and nothing is to be in two open batches.
        if (prepared := await self._take_prepared()) is not None:
            await self._turn(let_go=prepared)
        partners = await self._store.pick_contested(kind, CONTESTED_ENTITIES)
        others = [entity for entity in partners if entity.ref not in contested]
        # They are not of this batch, so their note stays: they are written once more.
        refs = [entity.ref for entity in others]
        until = after(self._now(), self._in_flight_seconds)
        if refs:
            await self._store.note_flight(refs, until, token=self._require_lease())
        return others

    async def _send(self, open_batch: OpenBatch, write: Write) -> Failure | None:
        self._reach(Failpoint.BEFORE_WRITE)
        open_batch.sent += write.entities
        # The last thing before the request: a pause that comes later is made good.
        self._require_lease()
        on_sent = None if self._ahead is None else open_batch.has_left.set
        failure = await self._supabase.apply(write, on_sent)
        # Who answers before he has read all of it is told no more.
        open_batch.has_left.set()
        self._reach(Failpoint.AFTER_WRITE)
        if failure is not None and failure.stops_everything:
            raise Stopped(failure)
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

    async def _idle(self, next_due: Instant | None) -> None:
        now = self._now()
        if self._contact_at is None or seconds_between(self._contact_at, now) >= PROBE_SECONDS:
            failure = await self._supabase.probe()
            if failure is None or not failure.stops_everything:
                self._note_answer()
            else:
                self._note_failure(failure)
            return
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

    def _note_progress(self) -> None:
        self._crash, self._crashes = None, 0

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


def _is_full(batch: OpenBatch) -> bool:
    return len(batch.batch.entities) == BATCH_ENTITIES
