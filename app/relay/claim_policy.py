"""Claim policy: which entities the dispatcher claims next, and how many."""

from typing import Final

from app.domain.entities import Priority
from app.relay.table_evidence import TableEvidence
from app.store.dispatch_queries import Batch, Wanted
from app.supabase.client import BUDGET_MS

# A fresh revocation waits for one request at most.
REQUEST_ENTITIES: Final = 500
# Rows that failed before may each wait for a lock again.
RETRY_ENTITIES: Final = 50
RETRY_BUDGET_MS: Final = 1000

_FRESH_FIRST: Final = tuple(Priority)
_RETRIES_AFTER_THEIR_KIND: Final = (
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


class RequestLimit:
    """Adapts how many entities a request may hold: failures divide the limit, successes add to it.

    Args:
        maximum: the initial limit, never exceeded.
        growth: what a full successful request adds; 0: after a failure, entities are sent alone.
    """

    SPLIT: Final = 24
    """Pieces of a failed request. Each piece that fails may cost a timeout; two splits narrow 500
    entities down to one."""

    def __init__(self, maximum: int, *, growth: int = 10) -> None:
        self._maximum = maximum
        self._growth = growth
        self.value = maximum

    def record_success(self, size: int) -> None:
        """Record that a request of `size` entities succeeded."""
        if size >= self.value:
            self.value = min(self.value + self._growth, self._maximum)

    def record_failure(self, size: int) -> int:
        """Record that a request of `size` entities failed; return the size of its pieces."""
        pieces = max(1, size // self.SPLIT) if self._growth else 1
        if size > 1 or not self._growth:
            self.value = min(self.value, pieces)
        return pieces


class ClaimPolicy:
    """Chooses what to claim.

    Retries come right after the fresh changes of their kind, but never twice in a row while
    anything else is due.
    """

    def __init__(self, evidence: TableEvidence, *, deletes_inactive: bool) -> None:
        self._evidence = evidence
        self._deletes_inactive = deletes_inactive
        self._is_after_retry = False
        self._limits = {
            Priority.REVOCATION: RequestLimit(REQUEST_ENTITIES),
            Priority.WRITE: RequestLimit(REQUEST_ENTITIES),
            Priority.DELETE: RequestLimit(REQUEST_ENTITIES, growth=0),
            Priority.ALONE: RequestLimit(1),
        }

    def choose(self, now: float) -> Wanted:
        """Choose what to claim next; `now` is on the monotonic clock."""
        return Wanted(
            _FRESH_FIRST if self._is_after_retry else _RETRIES_AFTER_THEIR_KIND,
            {priority: self._limit_entities(priority) for priority in Priority},
            held=frozenset(self._evidence.held),
            trial=self._evidence.begin_trial(now),
            deletes_inactive=self._deletes_inactive,
        )

    def begin_batch(self, batch: Batch) -> int:
        """Record that a batch is applied now; return its time budget in milliseconds."""
        self._is_after_retry = batch.priority.is_retry
        return RETRY_BUDGET_MS if self._is_after_retry else BUDGET_MS

    def record_success(self, batch: Batch) -> None:
        """Record that the request of a batch succeeded."""
        self._limits[batch.priority.request_kind].record_success(len(batch.entities))

    def record_failure(self, batch: Batch) -> int:
        """Record that the request of a batch failed; return the size of its pieces."""
        return self._limits[batch.priority.request_kind].record_failure(len(batch.entities))

    def _limit_entities(self, priority: Priority) -> int:
        limit = self._limits[priority.request_kind].value
        return min(limit, RETRY_ENTITIES) if priority.is_retry else limit
