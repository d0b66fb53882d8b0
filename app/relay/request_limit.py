"""How many entities one kind of request may hold."""

from typing import Final


class RequestLimit:
    """Adapts the size of requests to failures and successes.

    A failure lowers the limit at once. Full successful requests double it again, up to half of the
    size that failed last; from time to time that bound is doubled too, to find out whether it
    still holds.

    Args:
        maximum: the initial limit, never exceeded.
        single_after_failure: whether a failure lowers the limit to one entity.
    """

    SPLIT: Final = 24
    """Pieces of a failed request. Each piece that fails may cost a timeout; two splits narrow 500
    entities down to one."""
    SUCCESSES_PER_TRIAL: Final = 32

    def __init__(self, maximum: int, *, single_after_failure: bool = False) -> None:
        self._maximum = maximum
        self._is_single = single_after_failure
        self._bound = maximum
        self._successes = 0
        self.value = maximum

    def record_success(self, size: int) -> None:
        """Record that a request of `size` entities succeeded."""
        if size < self.value or self.value == self._maximum:
            return
        if self.value < self._bound:
            self.value = min(self.value * 2, self._bound)
            return
        self._successes += 1
        if self._successes >= self.SUCCESSES_PER_TRIAL:
            self._successes = 0
            self._bound = min(self._bound * 2, self._maximum)

    def record_failure(self, size: int) -> int:
        """Record that a request of `size` entities failed; return the size of its pieces."""
        pieces = 1 if self._is_single else max(1, size // self.SPLIT)
        if size > 1 or self._is_single:
            self._bound = pieces if self._is_single else size // 2
            self.value = min(self.value, pieces)
            self._successes = 0
        return pieces
