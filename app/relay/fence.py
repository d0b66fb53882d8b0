"""The fence in Supabase: only the requests of the latest claim count, in their order."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.client import Answer, SupabaseClient
from app.supabase.planning import Operation

logger = logging.getLogger(__name__)

_BUSY_WORTH_TELLING_SECONDS: Final = 10.0
# Another relay writes to the same project if requests were stale so often within so long.
_RIVAL_STALE_REQUESTS: Final = 3
_RIVAL_SECONDS: Final = 60.0


class Fence:
    """Claims the fence when that is needed, and numbers requests.

    Args:
        supabase: calls the functions.
        require_lease: raises LeaseLost once this replica is not the leader any more.
        monotonic: seconds that only rise.
    """

    def __init__(
        self,
        supabase: SupabaseClient,
        *,
        require_lease: Callable[[], object],
        monotonic: Callable[[], float],
    ) -> None:
        self._supabase = supabase
        self._require_lease = require_lease
        self._monotonic = monotonic
        self._epoch: int | None = None
        self._sequence = 0
        self._busy_since: float | None = None
        self._stale_at: deque[float] = deque(maxlen=_RIVAL_STALE_REQUESTS)

    @property
    def is_claimed(self) -> bool:
        """Whether requests are sent under a claim of ours, as far as we know."""
        return self._epoch is not None

    @property
    def is_busy(self) -> bool:
        """Whether another request, or a session, has held it for long."""
        since = self._busy_since
        return since is not None and self._monotonic() - since >= _BUSY_WORTH_TELLING_SECONDS

    @property
    def has_rival(self) -> bool:
        """Whether it has been claimed by others again and again."""
        stale_at = self._stale_at
        is_often = len(stale_at) == _RIVAL_STALE_REQUESTS
        return is_often and self._monotonic() - stale_at[0] <= _RIVAL_SECONDS

    def drop(self) -> None:
        """Claim it anew before the next request."""
        self._epoch = None

    async def send(
        self, operations: Sequence[Operation], *, budget_ms: int
    ) -> Answer | RequestFailure:
        """Send one request, claiming the fence first where that has to be done.

        Raises:
            LeaseLost: nothing was sent.
        """
        answer = await self._send(operations, budget_ms)
        kind = answer.kind if isinstance(answer, RequestFailure) else None
        if kind is not RequestFailureKind.BUSY:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = self._monotonic()
        if kind is RequestFailureKind.STALE:
            self.drop()
            self._note_stale()
        return answer

    async def _send(
        self, operations: Sequence[Operation], budget_ms: int
    ) -> Answer | RequestFailure:
        if self._epoch is None:
            self._require_lease()
            claimed = await self._supabase.claim()
            if isinstance(claimed, RequestFailure):
                return claimed
            self._epoch, self._sequence = claimed, 0
        self._sequence += 1
        # The last thing before the request: after a pause that comes later, it is stale.
        self._require_lease()
        return await self._supabase.apply(
            self._epoch, self._sequence, operations, budget_ms=budget_ms
        )

    def _note_stale(self) -> None:
        had_rival = self.has_rival
        self._stale_at.append(self._monotonic())
        if self.has_rival and not had_rival:
            logger.error("requests are stale again and again: another relay writes to this project")
