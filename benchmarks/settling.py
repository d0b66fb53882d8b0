"""Waiting until a relay has nothing more to do, so that it does not do it in another's turn."""

import time
from typing import Final

from benchmarks.operators import Operator

_SECONDS: Final = 300.0


def read_pending(port: int) -> int:
    """Ask a relay how many entities are pending."""
    operator = Operator(port)
    try:
        return int(operator.get("/health")["backlog"]["pending"])
    finally:
        operator.close()


def wait_until_settled(port: int) -> None:
    """Wait until nothing is pending.

    Raises:
        RuntimeError: they still are after some minutes.
    """
    deadline = time.monotonic() + _SECONDS
    while read_pending(port) > 0:
        if time.monotonic() > deadline:
            raise RuntimeError("events are still pending")
        time.sleep(0.1)
