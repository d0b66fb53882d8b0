"""The status report, for operators: what health leaves out because it is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.domain.clocks import Clocks
from app.domain.criteria import Criteria
from app.domain.exposure import ExposureFilter, ExposureSummary
from app.domain.history import DeadCause, StoredEvent
from app.domain.instants import Instant, after
from app.relay.leader_reader import LeaderReader, correct_attempts
from app.relay.leadership import Leader
from app.relay.single_flight import SingleFlight
from app.store import dead_queries, event_queries, revocation_queries
from app.store.store import Store

EXPOSURE_SECONDS: Final = 3600.0
CAUSES: Final = 5
EVENTS: Final = 5
# The percentiles of very many revocations take longer than an operator waits.
_MEASURE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Status:
    """One relay at one time.

    Attributes:
        replica: the name of this replica.
        leader: None if no replica is the leader.
        dead: the most frequent causes.
        exposure: of the last hour; None if there are too many revocations to measure it in time.
        events: the latest.
    """

    at: Instant
    replica: str
    leader: Leader | None
    dead: Sequence[DeadCause]
    exposure: ExposureSummary | None
    events: Sequence[StoredEvent]


class StatusReporter:
    """Reads what an operator wants to see first, in bounded time."""

    def __init__(self, store: Store, leader: LeaderReader, clocks: Clocks) -> None:
        self._store = store
        self._leader = leader
        self._clocks = clocks
        self._measure_exposure = SingleFlight(self._measure, timeout_seconds=_MEASURE_SECONDS)

    async def report(self) -> Status:
        """Report the status now.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        page = await self._store.search(event_queries.read_event_page, Criteria(), None, EVENTS)
        dead = await self._store.search(dead_queries.count_dead, CAUSES)
        try:
            exposure = await self._measure_exposure()
        except TimeoutError:
            exposure = None
        leader = await self._leader.read()
        events = correct_attempts(page.events, leader)
        return Status(self._clocks.now(), self._leader.replica, leader, dead, exposure, events)

    async def _measure(self) -> ExposureSummary:
        now = self._clocks.now()
        last_hour = ExposureFilter(after(now, -EXPOSURE_SECONDS))
        report = await self._store.search(revocation_queries.read_exposure, last_hour, now, limit=0)
        return report.summary
