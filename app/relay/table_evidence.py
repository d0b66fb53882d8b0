"""Evidence of whether a table is misconfigured or only a row fails.

Both fail alike: with a missing table, column, key or privilege, which a trigger may report too. The
table's other rows decide. Once one of them succeeds, failures are the rows' own. Until then, two
failed rows hold the table: they stay pending, and one of them, another each time, is retried with
backoff. A fresh change is still tried once: its row may be good. Writes and deletes are separate:
INSERT may be revoked where DELETE is not, and a revocation must not wait for a column that only
writes need.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from app.domain.entities import EntityRef
from app.domain.failures import RowFailure
from app.domain.retry import BACKOFF_FIRST_SECONDS, backoff_seconds
from app.store.dispatch_queries import Held

_FAILED_ROWS_TO_HOLD = 2


@dataclass(slots=True)
class _Suspicion:
    """The failures of a place since its last success.

    Attributes:
        failure: the latest.
        suspects: the failed rows.
        failures: the requests.
        retry_at: when the next row is tried, on the monotonic clock.
    """

    failure: RowFailure
    suspects: set[EntityRef] = field(default_factory=set)
    failures: int = 0
    retry_at: float = 0.0

    @property
    def is_held(self) -> bool:
        return len(self.suspects) >= _FAILED_ROWS_TO_HOLD


class TableEvidence:
    """Remembers places (the writes or the deletes of a kind) that failed without success since."""

    def __init__(self) -> None:
        self._suspicions: dict[Held, _Suspicion] = {}
        # Rows that failed before or while another row of their place succeeded.
        self._own_failures: set[EntityRef] = set()

    def record_successes(self, place: Held, applied: Iterable[EntityRef]) -> None:
        """Record that rows of this place were applied."""
        suspicion = self._suspicions.pop(place, None)
        if suspicion is not None:
            self._own_failures |= suspicion.suspects
        if self._own_failures:
            self._own_failures.difference_update(applied)

    def record_own_failures(self, failed: Iterable[EntityRef]) -> None:
        """Record that rows failed in a request that applied others of their place."""
        self._own_failures.update(failed)

    def is_own_failure(self, ref: EntityRef) -> bool:
        """Tell whether other rows of its place succeeded when this row failed, or since."""
        return ref in self._own_failures

    def record_failures(
        self,
        place: Held,
        failed: Collection[EntityRef],
        failure: RowFailure,
        now: float,
        jitter: float,
    ) -> float:
        """Record that every row of a request failed; return the seconds until the next trial."""
        suspicion = self._suspicions.setdefault(place, _Suspicion(failure))
        suspicion.failure = failure
        suspicion.suspects |= set(failed)
        suspicion.failures += 1
        seconds = backoff_seconds(suspicion.failures, jitter)
        suspicion.retry_at = now + seconds
        return seconds

    @property
    def held(self) -> dict[Held, RowFailure]:
        """The held places, and why each is held."""
        return {
            place: suspicion.failure
            for place, suspicion in self._suspicions.items()
            if suspicion.is_held
        }

    def list_trials(self, now: float) -> dict[Held, float]:
        """Return the held places, and the seconds until the next trial of each."""
        return {
            place: max(0.0, suspicion.retry_at - now)
            for place, suspicion in self._suspicions.items()
            if suspicion.is_held
        }

    def begin_trial(self, now: float) -> Held | None:
        """Return a held place whose next trial is due, or None."""
        for place, suspicion in self._suspicions.items():
            if suspicion.is_held and suspicion.retry_at <= now:
                # The next trial waits even if this request fails as a whole.
                suspicion.retry_at = now + BACKOFF_FIRST_SECONDS
                return place
        return None

    def seconds_until_trial(self, now: float) -> float | None:
        """Return the time until the next trial; None if no place is held."""
        return min(self.list_trials(now).values(), default=None)

    def end_trial(self, place: Held) -> None:
        """Release a place that has no row left to try."""
        self._suspicions.pop(place, None)
