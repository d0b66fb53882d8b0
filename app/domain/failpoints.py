"""Named points at which a test may kill or stop the process: nothing depends on its going on.

Each is one call of a function that does nothing, unless `RELAY_FAILPOINT` arms it
(`app.cli.failpoints`).
"""

from collections.abc import Callable
from enum import StrEnum


class Failpoint(StrEnum):
    """Where everything that is promised must hold although the process ends there."""

    AFTER_VERIFY = "after-verify"
    BEFORE_COMMIT = "before-commit"
    AFTER_COMMIT = "after-commit"
    """Durable, and nobody has been told."""
    BEFORE_WRITE = "before-write"
    AFTER_WRITE = "after-write"
    """Supabase has answered, and nothing is recorded."""
    IN_MIGRATION = "in-migration"


FailpointHook = Callable[[Failpoint], None]


def noop(_: Failpoint) -> None:
    """Do nothing: what every failpoint does unless it is armed."""
