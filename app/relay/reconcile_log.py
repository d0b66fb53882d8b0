"""What the log says of checks for drift."""

import logging

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.drift import Effect, Reconciliation
from app.relay.drift_check import CheckFailed

logger = logging.getLogger(__name__)


class ReconcileLog:
    """Logs failed checks, drift, and the end of both."""

    def __init__(self, clocks: Clocks) -> None:
        self._failures = Degradation(
            logger, "the check for drift succeeds again", monotonic=clocks.monotonic
        )
        self._drift = Degradation(
            logger, "Supabase equals the desired state again", monotonic=clocks.monotonic
        )

    def note_failure(self, error: CheckFailed) -> None:
        """Log that a check failed."""
        self._failures.note(
            f"the check for drift failed: {error}",
            cause=str(error),
            level=logging.ERROR if error.needs_operator else logging.WARNING,
        )

    def note_defect(self, error: Exception) -> None:
        """Log that a check failed unexpectedly."""
        message = "the check for drift failed"
        self._failures.note(message, cause=type(error), level=logging.ERROR, error=error)

    def note_result(self, result: Reconciliation) -> None:
        """Log what a completed check found."""
        self._failures.end()
        leaks = result.count(Effect.LEAKS)
        if leaks:
            self._drift.note(
                f"rows of Supabase that grant access and should not: {leaks}, being repaired:"
                f" {leaks - result.leaks_left} (reconciliation {result.reconcile_id})",
                cause=result.reconcile_id,
                level=logging.ERROR,
            )
        elif result.differences:
            self._drift.note(
                f"rows of Supabase that differ from the desired state: {result.differences}"
                f" (reconciliation {result.reconcile_id}, plan {result.plan_id})",
                cause=result.reconcile_id,
            )
        else:
            self._drift.end()
        if result.request.repair:
            logger.info(
                "repair of reconciliation %s: %s, %d entities queued",
                result.reconcile_id,
                result.repair,
                result.repaired,
            )
