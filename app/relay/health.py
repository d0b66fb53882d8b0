"""What monitoring is told."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.history import Backlog
from app.domain.instants import Instant, from_seconds, seconds_between
from app.relay.dispatch import Dispatcher
from app.relay.dispatcher_status import DispatcherStatus
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
        dispatcher: DispatcherStatus | None = self._dispatcher.status
        try:
            backlog = await self._store.measure_backlog(from_seconds(self._clock()))
            store = await self._check_store()
            if self._leadership is not None and not self._leadership.is_held:
                dispatcher = await self._leadership.read_leader_status()
        except StoreUnavailable:
            store = Check(HealthStatus.DOWN, "the store cannot be read")
        return Health(
            store,
            _check_dispatcher(dispatcher),
            _check_supabase(dispatcher, backlog),
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


def _check_dispatcher(status: DispatcherStatus | None) -> Check:
    if status is None:
        return Check(HealthStatus.DEGRADED, "no replica dispatches at the moment")
    if status.crash is not None:
        return Check(HealthStatus.DEGRADED, f"crashed ({status.crash}) and starts again")
    if status.has_rival:
        return Check(
            HealthStatus.DEGRADED,
            "another relay with a store of its own writes to the same Supabase project: stop one",
        )
    if status.unrecorded:
        return Check(
            HealthStatus.DEGRADED,
            f"{status.unrecorded} outcomes cannot be recorded: only revocations are dispatched",
        )
    return Check(HealthStatus.OK)


def _check_supabase(status: DispatcherStatus | None, backlog: Backlog | None) -> Check:
    if status is None or (status.failure is None and not status.has_contact):
        return Check(HealthStatus.DEGRADED, "not reached yet")
    reasons = list(_list_supabase_problems(status, backlog))
    if reasons:
        return Check(HealthStatus.DEGRADED, "; ".join(reasons))
    return Check(HealthStatus.OK)


def _list_supabase_problems(status: DispatcherStatus, backlog: Backlog | None) -> Iterator[str]:
    if status.failure is not None:
        yield _describe_failure(status.failure)
    if status.is_fence_busy:
        yield "another request or session holds the row of relay.fence"
    for table in status.held:
        yield (
            f"{table.action} of {table.table} wait until the table is as configured:"
            f" {table.code}, {table.message}"
        )
    if backlog is not None and backlog.troubled:
        for each in backlog.troubled:
            yield f"{each.ref.kind} {each.ref.key} keeps failing: {each.code}, {each.message}"
        others = backlog.troubled_count - len(backlog.troubled)
        if others > 0:
            yield f"{others} more keep failing (relay events --status pending)"


def _describe_failure(failure: RequestFailure) -> str:
    what = f"{failure.code}, {failure.message}"
    if failure.code in _FUNCTIONS_MISSING:
        return (
            f"the functions of the relay are missing or outdated: {what}."
            " Apply the output of `relay sql` to the project"
        )
    if failure.kind is RequestFailureKind.MISCONFIGURED:
        return f"rejects the relay's requests (key, URL or plan): {what}"
    return f"unreachable or failing: {what}"


# Not found; another protocol; no privilege on the functions or the fence; no fence.
_FUNCTIONS_MISSING: Final = ("PGRST202", "0A000", "42501", "42883", "42P01", "3F000", "P0002")
