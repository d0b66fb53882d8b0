"""The queue of pending entities: claiming batches and recording their outcomes."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from app.domain.clocks import Clocks
from app.domain.entities import EntityState, Priority
from app.domain.errors import StoreUnavailable
from app.domain.instants import Instant, seconds_between
from app.relay.background import OutageLog
from app.relay.batch_traces import BatchTraces
from app.relay.measurements import Measurements
from app.relay.outcome_notifier import OutcomeNotifier
from app.store import dispatch_queries, outcome_queries
from app.store.dispatch_queries import Batch, Wanted
from app.store.outcome_queries import Applied, Failed, Outcome, Postponed
from app.store.store import Store

logger = logging.getLogger(__name__)

STORE_RETRY_SECONDS: Final = 1.0
# Recording that takes longer has failed.
_TIMEOUT_SECONDS: Final = 5.0
# How often the schedule is read while anything is pending: the wall clock may step.
_SCHEDULE_SECONDS: Final = 1.0
_MINIMUM_WAIT_SECONDS: Final = 0.02
# The minimum while due entities cannot be claimed.
_BLOCKED_WAIT_SECONDS: Final = 0.25


class PendingQueue:
    """Claims batches of pending entities and records their outcomes.

    While the store cannot commit, outcomes stay in memory, and only revocations are claimed: that
    needs no commit.
    """

    def __init__(
        self,
        store: Store,
        notifier: OutcomeNotifier,
        measurements: Measurements,
        clocks: Clocks,
        traces: BatchTraces | None = None,
        *,
        closes_accounts: bool = False,
    ) -> None:
        self._store = store
        self._traces = traces
        self._closes_accounts = closes_accounts
        self._notifier = notifier
        self._measurements = measurements
        self._clocks = clocks
        self._unrecorded: list[Outcome] = []
        self._outage = OutageLog(
            logger, "only revocations are dispatched", monotonic=clocks.monotonic
        )
        self._retry_at = 0.0

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to use the store failed."""
        return self._outage.is_ongoing

    @property
    def unrecorded_count(self) -> int:
        """The number of outcomes that are not recorded yet."""
        return len(self._unrecorded)

    def discard_outcomes(self) -> None:
        """Forget the outcomes that are not recorded: another replica dispatches."""
        self._unrecorded.clear()
        if self._traces is not None:
            self._traces.forget_requests()

    def note_store_failure(self) -> None:
        """Record that the store is unavailable."""
        self._outage.begin()
        self._retry_at = self._clocks.monotonic() + STORE_RETRY_SECONDS

    async def record_and_claim(
        self, outcomes: Iterable[Outcome], wanted: Wanted | None, *, token: int | None
    ) -> Batch | None:
        """Record the outcomes of the last batch and claim the next one, in one transaction."""
        self._unrecorded += outcomes
        now = self._clocks.now()
        if not self._unrecorded:
            if wanted is None:
                return None
            # Only read: a write transaction would queue behind incoming events.
            batch = await self._store.read(dispatch_queries.claim, now, wanted)
            self._outage.end()
            return batch
        if self.is_failing and self._clocks.monotonic() < self._retry_at:
            return await self._claim_revocations(now, wanted)
        recorded = self._unrecorded
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                batch = await self._store.write(
                    outcome_queries.record_and_claim,
                    now,
                    recorded,
                    wanted,
                    token=token,
                    closes_accounts=self._closes_accounts,
                )
        except (StoreUnavailable, TimeoutError):
            self.note_store_failure()
            return await self._claim_revocations(now, wanted)
        self._unrecorded = []
        self._outage.end()
        self._measurements.count_outcomes(recorded, now)
        self._notifier.publish(outcome.entity.ref for outcome in recorded)
        if self._traces is not None:
            await self._traces.record_outcomes(recorded, now)
        return batch

    async def _claim_revocations(self, now: Instant, wanted: Wanted | None) -> Batch | None:
        if wanted is None:
            return None
        # An entity that is retried meanwhile has one outcome, the latest.
        self._unrecorded = list({each.entity.ref: each for each in self._unrecorded}.values())
        revocations = replace(
            wanted,
            order=(Priority.REVOCATION, Priority.RETRIED_REVOCATION),
            trial=None,
            excluded={
                each.entity.ref: each.entity.revision
                for each in self._unrecorded
                if not _is_due(each, now)
            },
        )
        return await self._store.read(dispatch_queries.claim, now, revocations)

    async def seconds_until_due(self, *, are_tables_held: bool) -> float | None:
        """Return how long to wait before the next claim; None if nothing is pending."""
        instant = self._clocks.now()
        next_due_at = await self._store.read(dispatch_queries.find_next_due, instant)
        if next_due_at is None:
            return STORE_RETRY_SECONDS if self._unrecorded else None
        # Due entities that could not be claimed are held or unrecorded, or became due just now.
        is_blocked = are_tables_held or bool(self._unrecorded)
        minimum = _BLOCKED_WAIT_SECONDS if is_blocked else _MINIMUM_WAIT_SECONDS
        return min(_SCHEDULE_SECONDS, max(minimum, seconds_between(instant, next_due_at)))


def _is_due(outcome: Outcome, now: Instant) -> bool:
    """Tell whether an entity may be retried before its outcome is recorded."""
    match outcome:
        case Applied():
            return False
        case Failed(decision=decision):
            return decision.state is EntityState.PENDING and decision.due_at <= now
        case Postponed():
            return True
