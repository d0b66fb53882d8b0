"""Exposure: for how long a revoked membership still gave access in Supabase."""

from dataclasses import dataclass
from typing import Final

from app.domain.entities import EntityKey, split_membership_key
from app.domain.instants import Instant, seconds_between

# The upper bounds of a histogram's buckets. A backend may send a revocation days late.
BUCKET_SECONDS: Final = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(60, 300, 3600, 86_400),
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation of one membership.

    Attributes:
        key: of the membership.
        occurred_at: when the access ended at the source.
        received_at: when the relay received it.
        applied_at: when Supabase first held it; None while Supabase may still give access.
        ended_at: `applied_at`, or the time of the query.
    """

    key: EntityKey
    occurred_at: Instant
    received_at: Instant
    applied_at: Instant | None
    ended_at: Instant

    @property
    def trip_id(self) -> str:
        """The trip of the membership."""
        return split_membership_key(self.key)[0]

    @property
    def user_id(self) -> str:
        """The user of the membership."""
        return split_membership_key(self.key)[1]

    @property
    def exposed_seconds(self) -> float:
        """From the source's change to its effect; 0 if the source's clock was ahead."""
        return max(0.0, seconds_between(self.occurred_at, self.ended_at))

    @property
    def relay_seconds(self) -> float:
        """The part of the exposure after the relay received the change."""
        return max(0.0, seconds_between(self.received_at, self.ended_at))


@dataclass(frozen=True, slots=True)
class ExposureFilter:
    """Which revocations to report: those whose exposure overlaps a period.

    Attributes:
        until: the exclusive end of the period; None for now.
        trip_id: only memberships of this trip.
    """

    since: Instant
    until: Instant | None = None
    trip_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExposureSummary:
    """How long revocations took; the seconds are None without any.

    Attributes:
        revocations: how many, with those that are not applied.
        unapplied: how many are not applied; they count until now.
    """

    revocations: int
    unapplied: int
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    maximum_seconds: float | None


@dataclass(frozen=True, slots=True)
class ExposureReport:
    """The summary, and the longest exposures: first those that last, then the others."""

    summary: ExposureSummary
    revocations: tuple[Revocation, ...]
