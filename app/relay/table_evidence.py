"""Telling a table that is not as configured from a row that fails by itself.

Both fail alike (a missing table, column, key or privilege; a trigger may say the same). The table's
other rows decide: once one of them succeeds, failures are the rows' own. While none has, and at
least two rows have failed, the table is held: the rows that failed stay pending, and one of them,
another each time, is tried with backoff. A fresh change is tried once all the same: it may be that
of a good row, and must not wait for two that fail by themselves. Writes and deletes are told apart:
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
    """What is known of a place since its last success.

    Attributes:
        suspects: rows that have failed.
        failure: of the latest of them.
        failures: requests in a row in which all rows failed.
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
    """Remembers which places, a kind's writes or deletes, have failed and none succeeded since."""

    def __init__(self) -> None:
        self._suspicions: dict[Held, _Suspicion] = {}
        # Rows that failed before, or while, another row of their place succeeded.
        self._guilty: set[EntityRef] = set()

    def record_successes(self, place: Held, applied: Iterable[EntityRef]) -> None:
        """Rows of this place were applied."""
        suspicion = self._suspicions.pop(place, None)
        if suspicion is not None:
            self._guilty |= suspicion.suspects
        if self._guilty:
            self._guilty.difference_update(applied)

    def record_own_failures(self, failed: Iterable[EntityRef]) -> None:
        """Rows failed in a request in which others of their place were applied."""
        self._guilty.update(failed)

    def is_own_failure(self, ref: EntityRef) -> bool:
        """Tell whether other rows of its place have succeeded when this one failed, or since."""
        return ref in self._guilty

    def record_failures(
        self,
        place: Held,
        failed: Collection[EntityRef],
        failure: RowFailure,
        now: float,
        jitter: float,
    ) -> float:
        """Every row of a request failed at this place; give the seconds until the next attempt."""
        suspicion = self._suspicions.setdefault(place, _Suspicion(failure))
        suspicion.failure = failure
        suspicion.suspects |= set(failed)
        suspicion.failures += 1
        seconds = backoff_seconds(suspicion.failures, jitter)
        suspicion.retry_at = now + seconds
        return seconds

    @property
    def held(self) -> dict[Held, RowFailure]:
        """The places that are held, and why."""
        return {
            place: suspicion.failure
            for place, suspicion in self._suspicions.items()
            if suspicion.is_held
        }

    def begin_trial(self, now: float) -> Held | None:
        """Give a held place of which a row is to be tried now, if there is one."""
        for place, suspicion in self._suspicions.items():
            if suspicion.is_held and suspicion.retry_at <= now:
                # Even if the request itself fails, the next trial waits.
                suspicion.retry_at = now + BACKOFF_FIRST_SECONDS
                return place
        return None

    def seconds_until_trial(self, now: float) -> float | None:
        """Give how long until a row of a held place is tried; None where none is held."""
        waits = [s.retry_at - now for s in self._suspicions.values() if s.is_held]
        return max(0.0, min(waits)) if waits else None

    def end_trial(self, place: Held) -> None:
        """There was no row left to try: nothing is held any more."""
        self._suspicions.pop(place, None)
