"""How many requests are taken at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.domain.errors import Overloaded

# Bodies of up to 1 MiB: whatever comes, they hold 64 MiB at most while they are read.
LARGE_AT_ONCE: Final = 64


class Admission:
    """Places for requests that are being taken, all endpoints together, and for those that wait.

    Whoever waits for Supabase has been taken: he must not keep others out, nor be let in without
    bound.

    Args:
        limit: of the one and of the other.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taking = 0
        self._waiting = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place until the request is taken or refused.

        Raises:
            Overloaded: there is none.
        """
        if not self.enter():
            raise Overloaded
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> bool:
        """Take a place, to be left again by `leave`; False where there is none."""
        if self._taking >= self._limit:
            return False
        self._taking += 1
        return True

    def leave(self) -> None:
        """Leave a place."""
        self._taking -= 1

    @contextmanager
    def wait(self) -> Iterator[bool]:
        """Hold a place among those who wait; False where there is none."""
        if self._waiting >= self._limit:
            yield False
            return
        self._waiting += 1
        try:
            yield True
        finally:
            self._waiting -= 1
