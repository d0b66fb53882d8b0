"""What monitoring is told."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.failures import FailureKind
from app.domain.history import Backlog
from app.domain.instants import Instant, from_seconds, seconds_between
from app.relay.dispatch import Dispatcher
from app.relay.dispatcher_view import DispatcherView
from app.relay.leadership import Leadership
from app.store.store import Store

# How often a look at the health commits something, so that a full disk shows before an event fails.
# Not at every look: anybody may look.
BEAT_SECONDS: Final = 10.0


class HealthStatus(StrEnum):
    """How well; `down` means that no event can be accepted."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Check:
    """One part and how it fares; the reason names no value and no secret."""

    status: HealthStatus
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The whole report.

    Attributes:
        store: whether events can be kept.
        dispatcher: whether somebody writes to Supabase.
        supabase: whether it lets itself be written to.
        backlog: what is still to be done; None where the store cannot be read.
        oldest_pending_seconds: how long the longest waiting entity waits.
        oldest_removal_seconds: the same of those that take access away.
    """

    store: Check
    dispatcher: Check
    supabase: Check
    backlog: Backlog | None
    oldest_pending_seconds: float
    oldest_removal_seconds: float

    @property
    def status(self) -> HealthStatus:
        """Down if the store is; degraded if anything else is not ok."""
        if self.store.status is HealthStatus.DOWN:
            return HealthStatus.DOWN
        statuses = (self.dispatcher.status, self.supabase.status)
        is_well = all(status is HealthStatus.OK for status in statuses)
        return HealthStatus.OK if is_well else HealthStatus.DEGRADED


_SUPABASE_REASONS = {
    FailureKind.OUTAGE: "unreachable or failing",
    FailureKind.MISCONFIGURED: "refuses the key, or SUPABASE_URL is no Supabase",
    FailureKind.SCHEMA_MISMATCH: "a table, column or constraint is not there",
}


class HealthReporter:
    """Asks the parts how they fare."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        *,
        clock: Callable[[], float],
        leadership: Leadership | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._leadership = leadership
        self._clock = clock
        self._beaten_at: float | None = None

    async def report(self) -> Health:
        """Look at everything now."""
        backlog: Backlog | None = None
        view: DispatcherView | None = self._dispatcher.view
        try:
            backlog = await self._store.measure_backlog()
            store = await self._check_store()
            if self._leadership is not None and not self._leadership.is_held:
                view = await self._leadership.read_others_view()
        except StoreUnavailable:
            store = Check(HealthStatus.DOWN, "the store cannot be read")
        return Health(
            store,
            _check_dispatcher(view),
            _check_supabase(view),
            backlog,
            oldest_pending_seconds=self._age(backlog.oldest_pending_since if backlog else None),
            oldest_removal_seconds=self._age(backlog.oldest_removal_since if backlog else None),
        )

    def _age(self, since: Instant | None) -> float:
        if since is None:
            return 0.0
        return max(0.0, seconds_between(since, from_seconds(self._clock())))

    async def _check_store(self) -> Check:
        now = self._clock()
        if self._beaten_at is None or abs(now - self._beaten_at) >= BEAT_SECONDS:
            self._beaten_at = now
            with contextlib.suppress(StoreUnavailable):
                await self._store.beat(from_seconds(now))
        if self._store.failure is None:
            return Check(HealthStatus.OK)
        return Check(HealthStatus.DOWN, f"the last commit failed: {self._store.failure}")


def _check_dispatcher(view: DispatcherView | None) -> Check:
    if view is None:
        return Check(HealthStatus.DEGRADED, "no replica dispatches at the moment")
    if view.crash is None:
        return Check(HealthStatus.OK)
    return Check(HealthStatus.DEGRADED, f"crashed ({view.crash}) and starts again")


def _check_supabase(view: DispatcherView | None) -> Check:
    if view is None or (view.failure is None and not view.has_contact):
        return Check(HealthStatus.DEGRADED, "not reached yet")
    if view.failure is not None:
        reason = _SUPABASE_REASONS.get(view.failure.kind, view.failure.kind.value)
        return Check(
            HealthStatus.DEGRADED,
            f"{reason}: {view.failure.code}, {view.failure.message}",
        )
    return Check(HealthStatus.OK)
