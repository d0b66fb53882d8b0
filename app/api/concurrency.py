"""Bounds how many authenticated requests are worked on at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.errors import Overloaded

# Batches of up to 1 MiB: no more than 64 MiB of them are kept until their commits.
BATCHES_AT_ONCE: Final = 64


class ConcurrencyLimiter:
    """A number of slots.

    Args:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Overloaded: none is free.
        """
        if not self.try_acquire():
            raise Overloaded
        try:
            yield
        finally:
            self.release()

    def try_acquire(self) -> bool:
        """Take a slot, to be given back by `release`; False if none is free."""
        if self._used >= self._limit:
            return False
        self._used += 1
        return True

    def release(self) -> None:
        """Give a slot back."""
        self._used -= 1
