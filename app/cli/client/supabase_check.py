"""Asking the relay to compare Supabase with the desired state, and to repair it."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from app.cli.client.delivery import deliver
from app.cli.client.drift_models import DifferencePage, SupabaseReport
from app.cli.client.relay_client import Document, RelayClient
from app.cli.errors import NotFinished, NotRepaired, Rejected
from app.domain.drift import (
    Difference,
    ReconcileRequest,
    ReconcileStatus,
    RepairStatus,
    explain_refusal,
)

_PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay
_CHECK_SECONDS: Final = 1800.0
_APPLY_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 2.0
_PAGE_DIFFERENCES: Final = 1000  # the most that the relay returns at once


class SupabaseReconciliation:
    """Supabase on one side, the relay's desired state on the other.

    Args:
        relay: compares and repairs.
        report_wait: receives why and how long the relay is waited for.
        report_step: receives what happens.
        pause: sleeps.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        relay: RelayClient,
        *,
        report_wait: Callable[[str, float], None],
        report_step: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relay = relay
        self._report_wait = report_wait
        self._report_step = report_step
        self._pause = pause
        self._clock = clock
        self._latest: SupabaseReport | None = None

    def compare(self) -> SupabaseReport:
        """Have the relay compare Supabase with its desired state.

        Raises:
            CommandFailed: it could not, or the relay does not respond.
        """
        self._report_step("The relay compares Supabase with its desired state")
        self._latest = self._run(repair=False)
        return self._latest

    def read_differences(self) -> Iterator[Difference]:
        """Read what the latest comparison found, in the order of a report."""
        if self._latest is None:
            return
        parameters: dict[str, Any] = {"limit": _PAGE_DIFFERENCES}
        path = f"/reconcile/{self._latest.reconcile_id}/differences"
        while True:
            document = self._deliver(partial(self._relay.get, path, parameters))
            page = self._relay.read(document, DifferencePage)
            yield from (each.read() for each in page.differences)
            if page.next_cursor is None:
                return
            parameters["cursor"] = page.next_cursor

    def find_refusal(self, max_removals: str | None, approved_plan_id: str | None) -> str | None:
        """Return why the relay would refuse to repair what was found; None if it would not."""
        report = self._latest
        if report is None:
            return None
        request = ReconcileRequest(True, max_removals, approved_plan_id)
        rows = sum(table.rows for table in report.tables)
        return explain_refusal(request, report.plan_id, report.removals, rows)

    def repair(self, max_removals: str | None, approved_plan_id: str | None) -> int:
        """Have the relay repair Supabase, and return how many entities it repairs.

        Raises:
            NotRepaired: the relay refused it.
            CommandFailed: it could not, or the relay does not respond.
        """
        self._report_step("The relay repairs Supabase")
        report = self._run(repair=True, max_removals=max_removals, plan_id=approved_plan_id)
        if report.repair is RepairStatus.REFUSED:
            raise NotRepaired(report.refusal or "the relay gave no reason")
        self._await_applied()
        return report.repaired

    def _run(self, **request: Any) -> SupabaseReport:
        body = {name: value for name, value in request.items() if value is not None}
        started = self._relay.read(self._relay.post("/reconcile", body), SupabaseReport)
        report = self._await_report(started.reconcile_id)
        if report.status is ReconcileStatus.FAILED:
            raise Rejected(f"the relay could not check Supabase: {report.failure}")
        return report

    def _await_report(self, reconcile_id: str) -> SupabaseReport:
        get = partial(self._relay.get_named, "/reconcile", "reconcile_id", reconcile_id)
        deadline = self._clock() + _CHECK_SECONDS
        pause = 0.1
        while True:
            report = self._relay.read(self._deliver(get), SupabaseReport)
            if report.status is not ReconcileStatus.RUNNING:
                return report
            if self._clock() > deadline:
                raise NotFinished(
                    f"the check {reconcile_id} is not finished after"
                    f" {_CHECK_SECONDS / 60:.0f} minutes",
                    ["The relay's log and /health say what it waits for."],
                )
            self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _await_applied(self) -> None:
        """Wait until nothing is pending, or for half a minute: then the comparison shows why."""
        deadline = self._clock() + _APPLY_SECONDS
        while self._clock() < deadline:
            match self._deliver(partial(self._relay.get, "/health")):
                case {"backlog": {"pending": int(pending)}} if pending > 0:
                    self._pause(0.5)
                case _:
                    return

    def _deliver(self, attempt: Callable[[], Document]) -> Document:
        return deliver(
            attempt,
            patience_seconds=_PATIENCE_SECONDS,
            report_wait=self._report_wait,
            pause=self._pause,
        )
