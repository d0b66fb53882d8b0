"""Requests to Supabase, for metrics."""

from collections.abc import Callable
from typing import NamedTuple


class Exchange(NamedTuple):
    """One request and its response.

    Attributes:
        function: which one was called.
        status: the class of the response's status, such as `5xx`; `invalid` for a successful
            response that the function does not give; without a response `timeout` or `error`.
        seconds: how long it took.
        ended_at: Unix seconds.
    """

    function: str
    status: str
    seconds: float
    ended_at: float

    @property
    def is_success(self) -> bool:
        """Whether the function responded."""
        return self.status == "2xx"


ObserveExchange = Callable[[Exchange], None]


def ignore(_: Exchange) -> None:
    """Measure nothing."""
