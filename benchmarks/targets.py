"""What the relay is meant to reach: each target is one figure and a bound."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from benchmarks.figures import Figure, Measurement


class Bound(StrEnum):
    """How the median of a figure compares with a target that it reaches."""

    AT_LEAST = "at least"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and its bound.

    Attributes:
        what: in words, for those who do not know the figures.
        measurement: its name.
        figure: its name.
        bound: which side of the value is good.
        value: in the figure's unit.
    """

    what: str
    measurement: str
    figure: str
    bound: Bound
    value: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether this run reached a target."""

    target: Target
    figure: Figure

    @property
    def is_reached(self) -> bool:
        """By the median."""
        match self.target.bound:
            case Bound.AT_LEAST:
                return self.figure.median >= self.target.value
            case Bound.BELOW:
                return self.figure.median < self.target.value

    def document(self) -> dict[str, Any]:
        """Write it for machines."""
        return {
            "what": self.target.what,
            "measurement": self.target.measurement,
            "figure": self.target.figure,
            "unit": self.figure.unit,
            "bound": self.target.bound.value,
            "value": self.target.value,
            "median": self.figure.median,
            "is_reached": self.is_reached,
        }


_ACCEPTING: Final = tuple(
    Target(
        f"{what}, {connections} connections, against a bare FastAPI handler",
        f"Receiving over {connections} connections",
        f"{name} / bare FastAPI",
        Bound.AT_LEAST,
        0.7,
    )
    for connections in (32, 128)
    for what, name in (
        ("accepting alone", "relay, Supabase away"),
        ("accepting and writing to Supabase", "relay"),
    )
)

TARGETS: Final = (
    *_ACCEPTING,
    Target(
        "accepting an event at half load, p99",
        "Accepting at half load",
        "relay, p99",
        Bound.BELOW,
        25,
    ),
    Target(
        "batches of 500, against single events, one connection each",
        "Receiving batches",
        "batches / single events, one connection each",
        Bound.AT_LEAST,
        10,
    ),
    Target(
        "batches of 500, against single events over 32 connections",
        "Receiving batches",
        "batches over 1 / single events over 32 connections",
        Bound.AT_LEAST,
        10,
    ),
    Target(
        "row in Supabase at 200 events/s, p99",
        "Lag, SQLite",
        "200/s, p99",
        Bound.BELOW,
        100,
    ),
    Target(
        "revocation at 200 events/s, p99",
        "Lag, SQLite",
        "revocations, 200/s, p99",
        Bound.BELOW,
        100,
    ),
    Target(
        "revocation behind a backlog of 100,000 grants, p99",
        "Lag, behind a backlog",
        "revocation, p99",
        Bound.BELOW,
        1000,
    ),
    Target(
        "requests ahead of a revocation behind that backlog",
        "Lag, behind a backlog",
        "revocation, most ahead",
        Bound.BELOW,
        3,
    ),
    Target(
        "draining on two processors",
        "Draining into the local Supabase",
        "relay",
        Bound.AT_LEAST,
        12_000,
    ),
    Target(
        "draining with Supabase 20 ms away, against a bare loop of the same requests",
        "Draining, Supabase 20 ms away",
        "relay / bare loop",
        Bound.AT_LEAST,
        0.7,
    ),
    Target(
        "draining, against a request for each row",
        "Draining into the local Supabase",
        "relay / a request for each row",
        Bound.AT_LEAST,
        20,
    ),
    Target(
        "receiving into a store of a million events, against an empty one",
        "Receiving into a large store",
        "large / new",
        Bound.AT_LEAST,
        0.9,
    ),
    Target(
        "checking 500,000 memberships for drift, processor time",
        "Checking for drift",
        "a check, processor",
        Bound.BELOW,
        2,
    ),
    Target("memory, a million events long", "Memory", "largest", Bound.BELOW, 150),
    Target("memory, end against a tenth of the way", "Memory", "end / tenth", Bound.BELOW, 1.1),
    Target(
        "start with a million events in the store",
        "Starting",
        "relay, large store",
        Bound.BELOW,
        2,
    ),
    Target(
        "receiving by two replicas, against one",
        "Replicas on one PostgreSQL",
        "two replicas / one",
        Bound.AT_LEAST,
        1.5,
    ),
)


def judge(measurements: Sequence[Measurement], targets: Iterable[Target]) -> list[Verdict]:
    """Judge those targets whose measurement was made.

    Raises:
        KeyError: a measurement lacks the figure that a target names.
    """
    made = {measurement.name: measurement for measurement in measurements}
    return [
        Verdict(target, made[target.measurement].find(target.figure))
        for target in targets
        if target.measurement in made
    ]
