"""The sentences on a relay's status that `relay status` and the console share."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from app.domain.wording import count, write_duration


class Tone(StrEnum):
    """How a sentence is meant."""

    NEUTRAL = "neutral"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Sentence(NamedTuple):
    """A sentence and its tone."""

    text: str
    tone: Tone = Tone.NEUTRAL


class ExposureFigures(Protocol):
    """The figures of `domain.exposure.ExposureSummary`."""

    @property
    def revocations(self) -> int: ...  # noqa: D102
    @property
    def unapplied(self) -> int: ...  # noqa: D102
    @property
    def p50_seconds(self) -> float | None: ...  # noqa: D102
    @property
    def p95_seconds(self) -> float | None: ...  # noqa: D102
    @property
    def p99_seconds(self) -> float | None: ...  # noqa: D102
    @property
    def maximum_seconds(self) -> float | None: ...  # noqa: D102


class BreakerTimes(Protocol):
    """When the circuit breaker opened and probes; None unless it is open."""

    @property
    def opened_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def next_probe_at(self) -> datetime | None: ...  # noqa: D102


def describe_breaker(breaker: BreakerTimes | None, at: datetime) -> Sentence:
    """Describe the circuit breaker; None if no replica dispatches."""
    if breaker is None:
        return Sentence("unknown: no replica dispatches", Tone.WARNING)
    if breaker.opened_at is None or breaker.next_probe_at is None:
        return Sentence("closed")
    duration = write_duration((at - breaker.opened_at).total_seconds())
    return Sentence(
        f"open for {duration}; next probe {write_until(breaker.next_probe_at, at)}", Tone.WARNING
    )


def describe_backlog(
    *,
    pending: int | None,
    dead: int | None,
    oldest_pending_seconds: float,
    oldest_removal_seconds: float,
) -> Sentence:
    """Describe what Supabase does not hold yet."""
    if pending is None or dead is None:
        return Sentence("unknown: the store cannot be read", Tone.BAD)
    parts = [f"{pending:,} pending"]
    if pending:
        parts.append(f"oldest {write_duration(oldest_pending_seconds)}")
    if oldest_removal_seconds:
        parts.append(f"oldest revocation {write_duration(oldest_removal_seconds)}")
    parts.append(f"{dead:,} dead")
    tone = Tone.BAD if dead else Tone.WARNING if pending else Tone.NEUTRAL
    return Sentence(", ".join(parts), tone)


def describe_exposure(summary: ExposureFigures) -> Sentence:
    """Describe the exposure of the last hour."""
    if not summary.revocations:
        return Sentence("last hour: none")
    percentiles = {
        "p50": summary.p50_seconds,
        "p95": summary.p95_seconds,
        "p99": summary.p99_seconds,
        "max": summary.maximum_seconds,
    }
    lag = ", ".join(
        f"{name} {write_duration(seconds)}"
        for name, seconds in percentiles.items()
        if seconds is not None
    )
    unapplied = f", {summary.unapplied:,} still exposed" if summary.unapplied else ""
    return Sentence(
        f"last hour: {summary.revocations:,}{unapplied}; lag {lag}",
        Tone.BAD if summary.unapplied else Tone.NEUTRAL,
    )


def describe_leader(leader: str | None, replica: str) -> Sentence:
    """Describe which replica dispatches and which one responds."""
    if leader is None:
        return Sentence(f"none; {replica} responds", Tone.WARNING)
    if leader == replica:
        return Sentence(f"{leader}, which responds")
    return Sentence(f"{leader}; {replica} responds")


def describe_held(kind: str, next_trial_at: datetime, at: datetime, *, is_delete: bool) -> Sentence:
    """Describe what waits because its table is misconfigured."""
    rows = f"{'deletes' if is_delete else 'writes'} of {kind}s"
    return Sentence(f"{rows}; next trial {write_until(next_trial_at, at)}", Tone.WARNING)


def describe_drift(
    status: str,
    *,
    age_seconds: float | None,
    leaks: int | None,
    denies: int | None,
    other: int | None,
    failure: str | None,
) -> Sentence:
    """Describe the result of the newest check of Supabase."""
    age = "" if age_seconds is None else f", checked {write_duration(age_seconds)} ago"
    match status:
        case "equal":
            return Sentence(f"none{age}")
        case "differs":
            numbers = f"{count(leaks or 0, 'leak')}, {count(denies or 0, 'deny')}"
            tone = Tone.BAD if leaks else Tone.WARNING
            return Sentence(f"{numbers}, {other or 0:,} other{age}", tone)
        case "failed":
            return Sentence(f"the check failed: {failure}{age}", Tone.WARNING)
        case _:
            return Sentence("not checked yet")


def write_until(moment: datetime, at: datetime) -> str:
    """Write when something is due."""
    seconds = (moment - at).total_seconds()
    return f"in {write_duration(seconds)}" if seconds > 0 else "now"
