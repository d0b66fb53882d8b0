"""Limits how many authenticated requests are in flight."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.errors import Overloaded

MAXIMUM_BATCHES: Final = 64
"""Of 1 MiB each: they keep 64 MiB in memory until their commits."""


class ConcurrencyLimiter:
    """A fixed number of slots.

    Attributes:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit

    @property
    def used(self) -> int:
        """How many slots are held."""
        return self.limit - self._free

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Overloaded: no slot is free.
        """
        if not self.try_acquire():
            raise Overloaded
        try:
            yield
        finally:
            self.release()

    def try_acquire(self) -> bool:
        """Acquire a slot, unless none is free. `release` returns it."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Return a slot."""
        self._free += 1
