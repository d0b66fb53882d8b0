"""Arming a failpoint, for crash tests."""

import os
import re
import signal
from typing import Final

from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint, Reach, ignore

VARIABLE: Final = "RELAY_FAILPOINT"


def arm_failpoint(text: str | None) -> Reach:
    """Give what kills this process the n-th time that a point is reached.

    Args:
        text: `<name>` or `<name>:<n>`; None arms nothing.

    Raises:
        ConfigurationInvalid: there is no such point.
    """
    if not text:
        return ignore
    name, _, count = text.partition(":")
    if name not in list(Failpoint) or re.fullmatch(r"\d{0,9}", count, re.ASCII) is None:
        raise ConfigurationInvalid(
            f"{VARIABLE} takes one of {', '.join(Failpoint)}, and :<n> for the n-th time"
        )
    remaining = int(count or 1)

    def reach(point: Failpoint) -> None:
        nonlocal remaining
        if point == name:
            remaining -= 1
            if remaining <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach
