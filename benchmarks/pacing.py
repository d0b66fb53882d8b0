"""Send times that are laid down before the first is sent, and quantiles of what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """An open loop: what comes next does not wait for what came before.

    Latencies count from these times. A server that stalls then meets all that would have come in
    meanwhile, and cannot hide the stall by slowing down who measures it (coordinated omission).

    Attributes:
        rate: how many are due a second.
        seconds: for how long.
    """

    rate: float
    seconds: float

    @property
    def count(self) -> int:
        """How many in all; at least one."""
        return max(1, round(self.rate * self.seconds))

    def due_after(self, number: int) -> float:
        """Give the seconds from the start to when one of them is due; the first is number 0."""
        return number / self.rate

    def count_due(self, seconds: float) -> int:
        """Give how many are due when so much time has passed."""
        return min(self.count, int(seconds * self.rate) + 1) if seconds >= 0 else 0


def pick_quantile(ordered: Sequence[float], share: float) -> float:
    """Give the value that at least this share of them do not exceed.

    Args:
        ordered: at least one, the least first.
        share: 0.99 for p99.
    """
    rank = -int(-share * len(ordered) // 1)
    return ordered[min(max(rank, 1), len(ordered)) - 1]
