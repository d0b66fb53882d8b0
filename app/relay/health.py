"""The health report, for monitoring."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.clocks import Clocks
from app.domain.drift import DriftStatus
from app.domain.errors import StoreUnavailable
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.history import Backlog
from app.domain.instants import Instant, seconds_between
from app.relay.dispatch import Dispatcher
from app.relay.dispatcher_status import DispatcherStatus
from app.relay.heartbeat import Heartbeat
from app.relay.leader_reader import LeaderReader
from app.relay.leadership import Leadership
from app.relay.single_flight import SingleFlight
from app.store import backlog_queries, closure_queries, reconcile_queries
from app.store.closure_queries import ClosureBacklog
from app.store.store import Store

# A report does not wait longer for the store to be read.
READ_SECONDS: Final = 2.0
# Function not found; another protocol; no privilege on the functions or the fence; no fence.
_FUNCTIONS_MISSING: Final = ("PGRST202", "0A000", "42501", "42883", "42P01", "3F000", "P0002")


class HealthStatus(StrEnum):
    """Down means that no event can be accepted."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Check:
    """The status of one part; the reason holds no row values and no secret."""

    status: HealthStatus
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the relay.

    Attributes:
        store: whether events can be stored.
        dispatcher: whether a replica dispatches.
        supabase: whether Supabase accepts writes.
        backlog: None if the store cannot be read.
        drift: the result of the checks of Supabase; None if the store cannot be read.
        drift_age_seconds: since the newest completed check; None without any.
        closures: the Auth accounts that are to be closed; None if the store cannot be read.
    """

    store: Check
    dispatcher: Check
    supabase: Check
    backlog: Backlog | None
    oldest_pending_seconds: float
    oldest_removal_seconds: float
    drift: DriftStatus | None
    drift_age_seconds: float | None
    closures: ClosureBacklog | None

    @property
    def status(self) -> HealthStatus:
        """Down if the store is; degraded if any part is not ok."""
        if self.store.status is HealthStatus.DOWN:
            return HealthStatus.DOWN
        checks = (self.store, self.dispatcher, self.supabase)
        is_ok = all(check.status is HealthStatus.OK for check in checks)
        return HealthStatus.OK if is_ok else HealthStatus.DEGRADED


class AgeObserver:
    """Measures the age of the oldest waiting entity.

    After the clock was set back, the wall clock alone would call an old entity new. So the observer
    also measures how long it has seen each stamp itself.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen_at: dict[Instant, float] = {}

    def measure(self, oldest: Instant | None, latest: Instant | None, now: Instant) -> float:
        """Return an age in seconds; 0.0 if nothing waits, which has no stamps."""
        if oldest is None or latest is None:
            self._seen_at = {}
            return 0.0
        # An entity with a stamp in the future may be the oldest one.
        stamps = {oldest, latest} if latest > now else {oldest}
        seen_at = self._monotonic()
        self._seen_at = {stamp: self._seen_at.get(stamp, seen_at) for stamp in stamps}
        return max(seconds_between(oldest, now), seen_at - min(self._seen_at.values()), 0.0)


class HealthReporter:
    """Checks the store, the dispatcher and Supabase."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        clocks: Clocks,
        leadership: Leadership | None = None,
        *,
        closes_accounts: bool = False,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._leader = LeaderReader(dispatcher, leadership)
        self._clocks = clocks
        self._closes_accounts = closes_accounts
        self._heartbeat = Heartbeat(store, clocks)
        self._read_backlog = SingleFlight(self._measure_backlog, timeout_seconds=READ_SECONDS)
        self._read_status = SingleFlight(self._read_dispatcher_status, timeout_seconds=READ_SECONDS)
        self._pending_age = AgeObserver(clocks.monotonic)
        self._removal_age = AgeObserver(clocks.monotonic)

    async def report(self) -> Health:
        """Check everything now; takes at most 5 seconds, even if the store does not respond."""
        failure, read_backlog, read_status = await asyncio.gather(
            self._heartbeat.find_failure(),
            self._read_backlog(),
            self._read_status(),
            return_exceptions=True,
        )
        is_slow = any(isinstance(read, TimeoutError) for read in (read_backlog, read_status))
        if failure is None and is_slow:
            # The last commit may have been just before the store stalled.
            failure = await self._heartbeat.find_failure()
        status = self._dispatcher.status if isinstance(read_status, BaseException) else read_status
        backlog = drift = closures = None
        if not isinstance(read_backlog, BaseException):
            backlog, drift, closures = read_backlog
        pending_seconds = removal_seconds = 0.0
        if backlog is not None:
            now = self._clocks.now()
            pending_seconds = self._pending_age.measure(
                backlog.oldest_pending_since, backlog.latest_pending_since, now
            )
            removal_seconds = self._removal_age.measure(
                backlog.oldest_removal_since, backlog.latest_removal_since, now
            )
        return Health(
            _check_store(failure, read_backlog, read_status),
            _degrade(_describe_dispatcher(status)),
            _degrade(_describe_supabase(status, backlog, drift, closures)),
            backlog,
            pending_seconds,
            removal_seconds,
            drift,
            self._measure_drift_age(drift),
            closures,
        )

    def _measure_drift_age(self, drift: DriftStatus | None) -> float | None:
        if drift is None or drift.completed is None or drift.completed.finished_at is None:
            return None
        now = self._clocks.now()
        return max(0.0, seconds_between(drift.completed.finished_at, now))

    async def _measure_backlog(self) -> tuple[Backlog, DriftStatus, ClosureBacklog]:
        now = self._clocks.now()
        backlog = await self._store.read(backlog_queries.measure_backlog, now)
        drift = await self._store.read(reconcile_queries.read_drift_status)
        closures = ClosureBacklog()
        # Accounts of a time with another setting are kept now.
        if self._closes_accounts:
            closures = await self._store.read(closure_queries.measure_closures, now)
        return backlog, drift, closures

    async def _read_dispatcher_status(self) -> DispatcherStatus | None:
        leader = await self._leader.read()
        return None if leader is None else leader.status


def _check_store(failure: str | BaseException | None, *reads: object) -> Check:
    """Check whether the store commits, then whether it could be read."""
    errors = [error for error in (failure, *reads) if isinstance(error, BaseException)]
    for error in errors:
        if not isinstance(error, StoreUnavailable | TimeoutError):
            raise error
    if isinstance(failure, str):
        return Check(HealthStatus.DOWN, failure)
    if any(isinstance(error, StoreUnavailable) for error in errors):
        return Check(HealthStatus.DOWN, "the store cannot be read")
    if errors:
        # Events are still accepted.
        return _degrade(f"reading the store takes longer than {READ_SECONDS:.0f} s")
    return Check(HealthStatus.OK)


def _degrade(reason: str | None) -> Check:
    return Check(HealthStatus.DEGRADED, reason) if reason else Check(HealthStatus.OK)


def _describe_dispatcher(status: DispatcherStatus | None) -> str | None:
    if status is None:
        return "no replica dispatches at the moment"
    if status.crash is not None:
        return f"crashed ({status.crash}) and starts again"
    if status.has_rival:
        return "another relay with a store of its own writes to the same Supabase project: stop one"
    if status.unrecorded:
        return f"{status.unrecorded} outcomes cannot be recorded: only revocations are dispatched"
    return None


def _describe_supabase(
    status: DispatcherStatus | None,
    backlog: Backlog | None,
    drift: DriftStatus | None,
    closures: ClosureBacklog | None,
) -> str:
    if status is None or (status.failure is None and not status.has_contact):
        return "not reached yet"
    return "; ".join(_list_supabase_problems(status, backlog, drift, closures))


def _list_supabase_problems(
    status: DispatcherStatus,
    backlog: Backlog | None,
    drift: DriftStatus | None,
    closures: ClosureBacklog | None,
) -> Iterator[str]:
    if status.failure is not None:
        yield _describe_failure(status.failure)
    if status.is_fence_busy:
        yield "another request or session holds the lock on relay.fence"
    yield from status.held
    if backlog is not None and backlog.troubled:
        for each in backlog.troubled:
            yield f"{each.ref.kind} {each.ref.key} keeps failing: {each.code}, {each.message}"
        others = backlog.troubled_count - len(backlog.troubled)
        if others > 0:
            yield f"{others} more keep failing (relay events --status pending)"
    if drift is not None and drift.completed is not None and drift.completed.leaks_left:
        yield (
            f"access that no event explains, {drift.completed.leaks_left} in all:"
            " `relay reconcile` shows it"
        )
    if closures is not None and closures.overdue:
        yield f"{closures.overdue} Auth accounts of removed users are not closed: {closures.error}"


def _describe_failure(failure: RequestFailure) -> str:
    cause = f"{failure.code}, {failure.message}"
    if failure.code in _FUNCTIONS_MISSING:
        return (
            f"the functions of the relay are missing or outdated: {cause}."
            " Apply the output of `relay sql` to the project"
        )
    if failure.kind is RequestFailureKind.MISCONFIGURED:
        return f"rejects the relay's requests (key, URL or plan): {cause}"
    return f"unreachable or failing: {cause}"
