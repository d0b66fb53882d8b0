"""Arming a failpoint, for crash tests."""

import os
import re
import signal
from typing import Final

from app.domain.errors import ConfigurationInvalid
from app.domain.failpoints import Failpoint, FailpointHook, noop

VARIABLE: Final = "RELAY_FAILPOINT"


def arm_failpoint(text: str | None) -> FailpointHook:
    """Return a hook that kills or stops this process the n-th time that it hits a failpoint.

    Args:
        text: `<name>`, `<name>:<n>` or `<name>:<n>:stop`; None arms nothing. A stopped process
            continues with SIGCONT and is not stopped again.

    Raises:
        ConfigurationInvalid: no failpoint has this name.
    """
    if not text:
        return noop
    name, _, rest = text.partition(":")
    match = re.fullmatch(r"(\d{0,9})(:stop)?", rest, re.ASCII)
    if name not in list(Failpoint) or match is None:
        raise ConfigurationInvalid(
            f"{VARIABLE} must be one of {', '.join(Failpoint)}, with :<n> for the n-th time, or"
            " :<n>:stop to stop the process instead of killing it"
        )
    remaining = max(1, int(match[1] or 1))
    how = signal.SIGSTOP if match[2] else signal.SIGKILL

    def hit(point: Failpoint) -> None:
        nonlocal remaining
        if point == name:
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), how)

    return hit
