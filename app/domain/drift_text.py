"""The words for differences that `relay reconcile` and the console share."""

from collections.abc import Mapping
from typing import Final

from app.domain.drift import Effect, Origin

EFFECTS: Final[Mapping[Effect, str]] = {
    Effect.LEAKS: "access that should be revoked",
    Effect.DENIES: "access that should be granted",
    Effect.OTHER: "no effect on access",
}
ORIGINS: Final[Mapping[Origin, str]] = {
    Origin.REMOVED_BY_US: "removed by the relay",
    Origin.UNKNOWN_TO_US: "unknown to the relay",
    Origin.CHANGED: "changed by somebody else",
}
