"""What monitoring is told."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.errors import StoreUnavailable
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.history import Backlog
from app.domain.instants import from_seconds
from app.relay.ages import AgeObserver
from app.relay.dispatch import Dispatcher
from app.relay.dispatcher_status import DispatcherStatus
from app.relay.heartbeat import Heartbeat
from app.relay.leadership import Leadership
from app.relay.single_flight import SingleFlight
from app.store.store import Store

# How long a report waits for the store to be read; it is answered even if the store stalls.
READ_SECONDS: Final = 2.0


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
        statuses = (self.store.status, self.dispatcher.status, self.supabase.status)
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
        monotonic: Callable[[], float],
        leadership: Leadership | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._leadership = leadership
        self._clock = clock
        self._heartbeat = Heartbeat(store, clock=clock, monotonic=monotonic)
        self._read_backlog = SingleFlight(self._measure_backlog, timeout_seconds=READ_SECONDS)
        self._read_status = SingleFlight(self._read_dispatcher_status, timeout_seconds=READ_SECONDS)
        self._pending_age = AgeObserver(monotonic)
        self._removal_age = AgeObserver(monotonic)

    async def report(self) -> Health:
        """Look at everything now; within 5 seconds, also where the store does not answer."""
        failure, read_backlog, read_status = await asyncio.gather(
            self._heartbeat.find_failure(),
            self._read_backlog(),
            self._read_status(),
            return_exceptions=True,
        )
        is_slow = any(isinstance(read, TimeoutError) for read in (read_backlog, read_status))
        if failure is None and is_slow:
            # The last commit may have been a moment before the store stalled.
            (failure,) = await asyncio.gather(
                self._heartbeat.find_failure(), return_exceptions=True
            )
        status = self._dispatcher.status if isinstance(read_status, BaseException) else read_status
        backlog = None if isinstance(read_backlog, BaseException) else read_backlog
        return Health(
            _check_store(failure, read_backlog, read_status),
            _check_dispatcher(status),
            _check_supabase(status, backlog),
            backlog,
            oldest_pending_seconds=self._measure_pending_age(backlog),
            oldest_removal_seconds=self._measure_removal_age(backlog),
        )

    async def _measure_backlog(self) -> Backlog:
        return await self._store.measure_backlog(from_seconds(self._clock()))

    async def _read_dispatcher_status(self) -> DispatcherStatus | None:
        if self._leadership is None or self._leadership.is_held:
            return self._dispatcher.status
        return await self._leadership.read_leader_status()

    def _measure_pending_age(self, backlog: Backlog | None) -> float:
        if backlog is None:
            return 0.0
        return self._pending_age.measure(
            backlog.oldest_pending_since, backlog.latest_pending_since, from_seconds(self._clock())
        )

    def _measure_removal_age(self, backlog: Backlog | None) -> float:
        if backlog is None:
            return 0.0
        return self._removal_age.measure(
            backlog.oldest_removal_since, backlog.latest_removal_since, from_seconds(self._clock())
        )


def _check_store(failure: str | BaseException | None, *reads: object) -> Check:
    """Judge whether the store commits, and then whether it could be read."""
    errors = [error for error in (failure, *reads) if isinstance(error, BaseException)]
    for error in errors:
        if not isinstance(error, StoreUnavailable | TimeoutError):
            raise error
    if isinstance(failure, str):
        return Check(HealthStatus.DOWN, failure)
    if any(isinstance(error, StoreUnavailable) for error in errors):
        return Check(HealthStatus.DOWN, "the store cannot be read")
    if errors:
        # Events are accepted all the same.
        return Check(
            HealthStatus.DEGRADED, f"reading the store takes longer than {READ_SECONDS:.0f} s"
        )
    return Check(HealthStatus.OK)


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
