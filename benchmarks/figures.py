"""Figures: contenders in turn, the median of what was seen, and how far it was spread."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, of several rounds."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def document(self) -> dict[str, Any]:
        """Write it for machines."""
        return asdict(self) | {"median": self.median}


@dataclass(slots=True)
class Measurement:
    """What one benchmark came to.

    Attributes:
        name: of the benchmark.
        setting: what ran where, for a reader to judge it.
        figures: in the order to be shown.
    """

    name: str
    setting: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, name: str, unit: str, values: Sequence[float]) -> None:
        """Add a figure."""
        self.figures.append(Figure(name, unit, tuple(values)))

    def add_ratio(self, name: str, of: Sequence[float], to: Sequence[float]) -> None:
        """Add the ratios of two contenders, round by round."""
        self.add(name, "ratio", [mine / other for mine, other in zip(of, to, strict=True)])

    def find(self, name: str) -> Figure:
        """Give the figure of a name.

        Raises:
            KeyError: there is none.
        """
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def document(self) -> dict[str, Any]:
        """Write it for machines."""
        return {
            "name": self.name,
            "setting": self.setting,
            "figures": [figure.document() for figure in self.figures],
        }


def run_in_turn(
    contenders: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Run every contender once a round, in an order that turns round each time.

    What else the machine does then meets all alike. A first round warms up and is not counted.
    """
    seen: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(0 if warm_up else 1, rounds + 1):
        names = list(contenders)[:: 1 if number % 2 else -1]
        for name in names:
            value = contenders[name]()
            if number:
                seen[name].append(value)
    return seen
