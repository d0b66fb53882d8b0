"""Reconciling: check that Supabase equals the desired state, and repair it.

Repair makes entities pending, so that the dispatcher writes their current desired state: it cannot
undo a later event.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from app.domain.clocks import Clocks
from app.domain.drift import (
    Difference,
    DifferencePage,
    Effect,
    Plan,
    ReconcileId,
    ReconcileRequest,
    ReconcileStatus,
    Reconciliation,
    ReconciliationPage,
    Repair,
    RepairStatus,
    explain_refusal,
)
from app.domain.errors import LeaseLost, ReconciliationNotFound, StoreUnavailable
from app.domain.instants import seconds_between
from app.relay.background import repeat
from app.relay.dispatch import Dispatcher
from app.relay.drift_check import CheckFailed, DriftCheck
from app.relay.reconcile_log import ReconcileLog
from app.store import reconcile_queries, repair_queries
from app.store.store import Store
from app.supabase.client import SupabaseClient
from app.supabase.comparison import PAGE_ROWS
from app.supabase.targets import Targets

logger = logging.getLogger(__name__)

# How often to look whether a check is due or another replica has requested one.
_POLL_SECONDS: Final = 2.0
# After a failure, a scheduled check waits this long.
_RETRY_SECONDS: Final = 60.0
_PAGE_ROWS: Final = 1000


class Reconciler:
    """Checks when requested and on schedule; on the leader only.

    Args:
        interval_seconds: between two scheduled checks; 0 for none.
        bucket_rows: as of `DriftCheck`; by default, a range that differs is about one page.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        supabase: SupabaseClient,
        *,
        targets: Targets,
        clocks: Clocks,
        interval_seconds: float,
        bucket_rows: int = PAGE_ROWS,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._supabase = supabase
        self._targets = targets
        self._clocks = clocks
        self._interval_seconds = interval_seconds
        self._bucket_rows = bucket_rows
        self._is_leader = is_leader
        self._signal = asyncio.Event()
        self._log = ReconcileLog(clocks)

    async def request(
        self, request: ReconcileRequest, *, requested_by: str | None
    ) -> Reconciliation:
        """Request a check, durably. The leader begins it within seconds.

        Raises:
            StoreUnavailable: no check begins.
        """
        reconcile_id = ReconcileId(str(uuid.uuid4()))
        await self._store.write(
            reconcile_queries.begin_reconciliation,
            reconcile_id,
            request,
            requested_by,
            self._clocks.now(),
        )
        self._signal.set()
        return await self.find(reconcile_id)

    async def find(self, reconcile_id: ReconcileId) -> Reconciliation:
        """Return a check and its result.

        Raises:
            ReconciliationNotFound: no check has this id.
        """
        found = await self._store.search(reconcile_queries.read_reconciliation, reconcile_id)
        if found is None:
            raise ReconciliationNotFound
        return found

    async def list_reconciliations(self, before: int | None, limit: int) -> ReconciliationPage:
        """Return checks, newest first, with numbers below `before`."""
        return await self._store.search(reconcile_queries.read_reconciliation_page, before, limit)

    async def list_differences(
        self, reconcile_id: ReconcileId, after: int | None, limit: int
    ) -> DifferencePage:
        """Return differences of a check, leaks first; only those of the newest check are kept.

        Raises:
            ReconciliationNotFound: no check has this id.
        """
        number = (await self.find(reconcile_id)).number
        return await self._store.search(
            reconcile_queries.read_difference_page, number, after, limit
        )

    async def run(self) -> None:
        """Run the requested and the scheduled checks, until cancelled."""
        await repeat(self.run_next, self._wait, logger=logger, effect="no check for drift runs")

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._signal.wait()

    async def run_next(self) -> None:
        """Run the oldest requested check, or the scheduled one if it is due.

        Raises:
            StoreUnavailable: the check begins again later.
        """
        self._signal.clear()
        if not self._is_leader():
            return
        running = await self._store.read(reconcile_queries.find_running_reconciliation)
        if running is None and await self._is_due():
            await self.request(ReconcileRequest(), requested_by=None)
            running = await self._store.read(reconcile_queries.find_running_reconciliation)
        if running is not None:
            with contextlib.suppress(LeaseLost):  # The new leader begins it again.
                await self._complete(running)
            self._signal.set()

    async def _is_due(self) -> bool:
        """Tell whether a scheduled check is due, by stored times: a restart changes nothing."""
        if self._interval_seconds <= 0 or self._dispatcher.status.failure is not None:
            return False
        now = self._clocks.now()
        drift = await self._store.read(reconcile_queries.read_drift_status)
        latest = None if drift.latest is None else drift.latest.finished_at
        retry_seconds = min(_RETRY_SECONDS, self._interval_seconds)
        # A time in the future comes from a clock that has been corrected.
        if latest is not None and 0 <= seconds_between(latest, now) < retry_seconds:
            return False
        base = None if drift.completed is None else drift.completed.finished_at
        if base is None:
            base = await self._store.read(reconcile_queries.read_first_received_at)
        # Without any event there is no desired state yet.
        return base is not None and not 0 <= seconds_between(base, now) < self._interval_seconds

    async def _complete(self, running: Reconciliation) -> None:
        # Of an interrupted run.
        await self._forget_differences(running.number, running.number)
        try:
            result = await self._check(running)
        except CheckFailed as error:
            self._log.note_failure(error)
            result = replace(running, status=ReconcileStatus.FAILED, failure=str(error))
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._log.note_defect(error)
            failure = "an unexpected error, which the log shows"
            result = replace(running, status=ReconcileStatus.FAILED, failure=failure)
        result = replace(result, finished_at=self._clocks.now())
        await self._store.write(reconcile_queries.finish_reconciliation, result)
        if result.status is ReconcileStatus.COMPLETED:
            self._log.note_result(result)
            await self._forget_differences(0, running.number - 1)
        else:
            await self._forget_differences(running.number, running.number)

    async def _forget_differences(self, first: int, last: int) -> None:
        while await self._store.write(reconcile_queries.forget_differences, first, last):
            pass

    async def _check(self, running: Reconciliation) -> Reconciliation:
        plan = Plan()
        found_count = removals = automatic = leaks_left = 0

        async def add(found: list[Difference]) -> None:
            nonlocal found_count, removals, automatic, leaks_left
            plan.add(found)
            await self._store.write(
                reconcile_queries.add_differences, running.number, found_count, found
            )
            found_count += len(found)
            removals += sum(each.is_guarded for each in found)
            leaks_left += sum(
                each.effect is Effect.LEAKS and not each.is_automatic for each in found
            )
            # At once: a revocation does not wait for the other tables.
            automatic += await self._queue([each for each in found if each.is_automatic])

        check = DriftCheck(
            self._store,
            self._dispatcher,
            self._supabase,
            self._targets,
            bucket_rows=self._bucket_rows,
            add=add,
        )
        tables = await check.compare()
        result = replace(
            running,
            status=ReconcileStatus.COMPLETED,
            tables=tuple(tables),
            plan_id=plan.plan_id,
            removals=removals,
            repair=RepairStatus.AUTOMATIC if automatic else RepairStatus.NONE,
            repaired=automatic,
            leaks_left=leaks_left,
        )
        return await self._repair(result) if running.request.repair else result

    async def _repair(self, result: Reconciliation) -> Reconciliation:
        rows = sum(table.rows for table in result.tables)
        refusal = explain_refusal(result.request, result.plan_id, result.removals, rows)
        if refusal is not None:
            return replace(result, repair=RepairStatus.REFUSED, refusal=refusal)
        repaired, leaks_left = result.repaired, 0
        after: int | None = None
        while True:
            page = await self._store.read(
                reconcile_queries.read_difference_page, result.number, after, _PAGE_ROWS
            )
            repairable = [each for each in page.differences if each.repair is not Repair.NONE]
            repaired += await self._queue(repairable)
            leaks_left += sum(
                each.effect is Effect.LEAKS and each.repair is Repair.NONE
                for each in page.differences
            )
            after = page.next_position
            if after is None:
                break
        return replace(
            result, repair=RepairStatus.REQUESTED, repaired=repaired, leaks_left=leaks_left
        )

    async def _queue(self, found: list[Difference]) -> int:
        if not found:
            return 0
        now = self._clocks.now()
        count = await self._store.write(repair_queries.queue_repairs, found, now)
        self._dispatcher.wake()
        return count
