"""The fence in Supabase: only the requests of the latest claim count, in their order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from app.domain.clocks import Clocks
from app.domain.degradation import Degradation
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.retry import backoff_seconds
from app.relay.batch_traces import BatchTraces, SentRequest
from app.supabase.client import BUDGET_MS, ApplyResult, SupabaseClient
from app.supabase.planning import Operation

logger = logging.getLogger(__name__)

_BUSY_PAUSE_SECONDS: Final = 0.05
_BUSY_REPORT_SECONDS: Final = 10.0
# This many stale requests within this time mean that another relay writes to the same project.
_RIVAL_STALE_REQUESTS: Final = 3
_RIVAL_SECONDS: Final = 60.0
# The fence rejects requests only if the database works.
_DATABASE_RESPONDED: Final = (RequestFailureKind.STALE, RequestFailureKind.BUSY)
# A read, a probe that is stale, and a claim.
_READ_TRIES: Final = 3
_NOT_SETTLED: Final = RequestFailure(
    RequestFailureKind.STALE, "fence", "another request has passed the fence meanwhile"
)


class _Positioned(Protocol):
    @property
    def position(self) -> tuple[int, int]:
        """The last request that the fence let through."""
        ...


R = TypeVar("R", bound=_Positioned)


class Fence:
    """Claims the fence when necessary, and numbers requests.

    Args:
        traces: records the spans of requests; None without tracing.
        require_lease: raises LeaseLost if this replica is no longer the leader.

    Attributes:
        contact_at: when the database responded last, on the monotonic clock.
    """

    def __init__(
        self,
        supabase: SupabaseClient,
        traces: BatchTraces | None,
        *,
        require_lease: Callable[[], object],
        clocks: Clocks,
    ) -> None:
        self._supabase = supabase
        self._traces = traces
        self._require_lease = require_lease
        self._clocks = clocks
        self._epoch: int | None = None
        self._sequence = 0
        # Whether Supabase has applied every request so far.
        self._is_settled = False
        self._busy_since: float | None = None
        self._stale_at: deque[float] = deque(maxlen=_RIVAL_STALE_REQUESTS)
        self._busy = Degradation(
            logger, "the lock on relay.fence is free again", monotonic=clocks.monotonic
        )
        self._rival = Degradation(
            logger, "no other relay writes to this project any more", monotonic=clocks.monotonic
        )
        self.contact_at: float | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether this process has claimed the fence, as far as it knows."""
        return self._epoch is not None

    @property
    def is_busy(self) -> bool:
        """Whether another request or session has held the fence for long."""
        since = self._busy_since
        return since is not None and self._clocks.monotonic() - since >= _BUSY_REPORT_SECONDS

    @property
    def has_rival(self) -> bool:
        """Whether another relay claims the fence again and again."""
        stale_at = self._stale_at
        is_often = len(stale_at) == _RIVAL_STALE_REQUESTS
        return is_often and self._clocks.monotonic() - stale_at[0] <= _RIVAL_SECONDS

    def drop(self) -> None:
        """Claim the fence again before the next request."""
        self._epoch = None
        self._is_settled = False

    async def probe(self) -> RequestFailure | None:
        """Send a request without rows; return its failure if Supabase is unavailable.

        Raises:
            LeaseLost: nothing was sent.
        """
        result = await self.send((), budget_ms=BUDGET_MS)
        if isinstance(result, ApplyResult) or result.kind in _DATABASE_RESPONDED:
            return None
        return result

    async def send(
        self, operations: Sequence[Operation], *, budget_ms: int
    ) -> ApplyResult | RequestFailure:
        """Send one request; claim the fence first if necessary, and pause if it rejects.

        Raises:
            LeaseLost: nothing was sent.
        """
        self._is_settled = False
        result = await self._send(operations, budget_ms)
        self._is_settled = isinstance(result, ApplyResult)
        kind = None if isinstance(result, ApplyResult) else result.kind
        if kind is None or kind in _DATABASE_RESPONDED:
            self.contact_at = self._clocks.monotonic()
        self._note_busy(is_busy=kind is RequestFailureKind.BUSY)
        self._note_stale(is_stale=kind is RequestFailureKind.STALE)
        if kind is RequestFailureKind.STALE:
            self.drop()
            if self.has_rival:
                # Two relays that claim from each other without a pause would get no work done.
                await asyncio.sleep(backoff_seconds(1, self._clocks.jitter()))
        elif kind is RequestFailureKind.BUSY:
            await asyncio.sleep(_BUSY_PAUSE_SECONDS)
        return result

    async def read(self, query: Callable[[], Awaitable[R | RequestFailure]]) -> R | RequestFailure:
        """Run a query that sees Supabase exactly as the requests so far have left it.

        Raises:
            LeaseLost: the query did not run.
        """
        for _ in range(_READ_TRIES):
            if not self._is_settled:
                # A request without a result may still be under way. After this one it is stale.
                failure = await self.probe()
                if failure is not None:
                    return failure
            if self._is_settled:
                result = await query()
                if isinstance(result, RequestFailure):
                    return result
                if result.position == (self._epoch, self._sequence):
                    return result
                self._is_settled = False
        return _NOT_SETTLED

    async def _send(
        self, operations: Sequence[Operation], budget_ms: int
    ) -> ApplyResult | RequestFailure:
        if self._epoch is None:
            self._require_lease()
            claimed = await self._supabase.claim()
            if isinstance(claimed, RequestFailure):
                return claimed
            self._epoch, self._sequence = claimed, 0
        self._sequence += 1
        epoch, sequence, began_at = self._epoch, self._sequence, self._clocks.now()
        # Immediately before the request: after a later pause, the request is stale.
        self._require_lease()
        result = await self._supabase.apply(epoch, sequence, operations, budget_ms=budget_ms)
        if self._traces is not None and operations:
            sent = SentRequest(epoch, sequence, began_at, self._clocks.now(), result)
            await self._traces.record_request(sent, operations)
        return result

    def _note_busy(self, *, is_busy: bool) -> None:
        if not is_busy:
            self._busy_since = None
            self._busy.end()
            return
        if self._busy_since is None:
            self._busy_since = self._clocks.monotonic()
        if self.is_busy:
            self._busy.note("another request or session holds the lock on relay.fence; retrying")

    def _note_stale(self, *, is_stale: bool) -> None:
        if is_stale:
            self._stale_at.append(self._clocks.monotonic())
        if not self.has_rival:
            self._rival.end()
        elif is_stale:
            self._rival.note(
                "stale requests keep occurring: another relay writes to this project",
                level=logging.ERROR,
            )
