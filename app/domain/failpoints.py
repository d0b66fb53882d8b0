"""Named points at which tests kill or stop the process.

Each point calls a function that does nothing unless `RELAY_FAILPOINT` arms it
(`app.cli.failpoints`).
"""

from collections.abc import Callable
from enum import StrEnum


class Failpoint(StrEnum):
    """Points at which every promise must hold even if the process ends there."""

    AFTER_VERIFY = "after-verify"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    """Durable, but no sender has a response."""
    BEFORE_WRITE = "before-write"
    AFTER_WRITE = "after-write"
    """Supabase has responded, but nothing is recorded."""
    IN_MIGRATION = "in-migration"


FailpointHook = Callable[[Failpoint], None]


def noop(_: Failpoint) -> None:
    """Do nothing: the hook of a process without an armed failpoint."""
